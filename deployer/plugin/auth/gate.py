"""Checks the login of every request before MLflow does, outside of the threads that serve; does not import deployer.

MLflow checks passwords in the threads that serve requests, and for artifacts on the event loop itself. A few users with
new logins, or one client that guesses, would delay everybody. The gate makes only their requests wait, and refuses
wrong passwords. If the password is right, it stores this result for the request (`request_cache.Memory`). MLflow
still decides whether a user is let in, and asks for that result.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any

from ..gateway import internal_headers
from .access_log import write_line
from .authenticator import Authenticator
from .client_address import client_address, site
from .client_presence import Client, ClientLeft
from .credentials_header import credentials
from .fair_queue import Full
from .guess_turns import PATIENCE, TooLate
from .login_checks import Guesser, LoginChecks
from .refusal_pause import RefusalPause
from .shared_work import SharedWork
from .throttle import Throttle

PAUSE = 1.0  # seconds before a refusal is sent to a guesser whose password was not checked
BAD_REQUEST, UNAUTHORIZED, TOO_MANY_REQUESTS = 400, 401, 429
CLIENT_LEFT = 499  # only in the access log, as in nginx's

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("deployer")


class Refusal(Exception):
    """A request that the gate refuses: a status, a message, and a further header; `pause` delays the response."""

    def __init__(self, status: int, text: str, header: tuple[bytes, bytes], *, pause: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.header = header
        self.pause = pause


def _later(status: int, seconds: float, text: str, *, pause: bool = False) -> Refusal:
    whole = max(1, math.ceil(seconds))
    return Refusal(status, f"{text} Try again in {whole} s.", (b"retry-after", b"%d" % whole), pause=pause)


class Gate:
    """ASGI middleware around all other middleware that deals with logins.

    `is_open` tells whether a path needs no login.
    `forwarded` says that requests come through one proxy, which appends its client's address to X-Forwarded-For.
    Earlier addresses in that header come from the client and do not count.
    `access_log` says to log each request in the Common Log Format, with the milliseconds added.
    `has_a_thread` tells whether MLflow checks the login of a request in a thread. If such a login was right earlier,
    the gate leaves the check to that thread.
    If `passes_on` is true, the gate refuses no request for a missing login or a wrong password. MLflow decides about
    these requests, because MLflow may have another login method.
    `pause` is the number of seconds that the gate waits before it refuses a guess that it has not checked. Without this
    delay, a client that tries again at once would take processor time from others.
    """

    def __init__(
        self,
        app: App,
        logins: Authenticator,
        throttle: Throttle,
        is_open: Callable[[str], bool],
        *,
        forwarded: bool = False,
        access_log: bool = False,
        has_a_thread: Callable[[Scope], bool] = lambda _scope: False,
        passes_on: bool = False,
        pause: float = PAUSE,
        patience: float = PATIENCE,
    ) -> None:
        self._app = app
        self._logins = logins
        self._checks = LoginChecks(logins, throttle, passes_on=passes_on, patience=patience)
        self._is_open = is_open
        self._forwarded = forwarded
        self._access_log = access_log
        self._has_a_thread = has_a_thread
        self._passes_on = passes_on
        self._pause = RefusalPause(pause)
        self._shared = SharedWork[tuple[bool, bytes]]()  # by login and guesser

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._logins.begin_anew()
        address = client_address(scope, forwarded=self._forwarded)
        client = Client(scope, receive)
        begun, status, known = time.monotonic(), 500, None

        async def heard(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            try:
                known = await self._user(scope, address, client)
            except Refusal as refusal:
                if refusal.pause:
                    await self._pause.wait(site(address))
                await _answer(refusal, heard)
                return
            except ClientLeft:
                status = CLIENT_LEFT
                return
            await self._app(scope, client.receive, heard)
        finally:
            if self._access_log:
                # MLflow may still refuse
                who = known if known and self._logins.is_authenticated() and status != 401 else "-"
                write_line(scope, address, who, status, time.monotonic() - begun)

    async def _user(self, scope: Scope, address: str, client: Client) -> str | None:
        """Return the user name if the login was accepted; None if the path needs no login, or if MLflow decides."""
        if "\n" in scope["path"]:
            raise _line_break()
        if self._is_open(scope["path"]):
            return None
        internal_headers.remove(scope)
        login = credentials(scope)
        if login is None and not self._passes_on:
            raise _anonymous()  # before the body is read, and before MLflow looks at other headers
        return login[0] if login and await self._accepts(*login, address, scope, client) else None

    async def _accepts(self, username: str, password: str, address: str, scope: Scope, client: Client) -> bool:
        try:
            was_right = self._logins.passwords.was_right(username, password)
            if was_right and self._has_a_thread(scope):
                self._logins.defer(username, password)
                return True  # looked up later; MLflow decides
            guesser = None if was_right else self._guesser(username, password, address)
            is_new = guesser is not None and not self._logins.passwords.was_checked(username, password)
            user = accepted = None
            if not is_new:  # a new guess must have its turn before its user is looked up
                user = await self._checks.look_up(username, guesser)
                accepted = self._logins.known(user, username, password)
            if accepted is None:
                work = partial(self._checks.decide, username, password, guesser)
                accepted, pair = await self._shared.do((username, password, guesser), work, client)
                user = await self._checks.look_up(username, guesser)
                if self._logins.pair(user, username, password) != pair:  # the password changed meanwhile
                    return await self._accepts(username, password, address, scope, client)
        except (Refusal, ClientLeft):
            raise
        except TooLate as late:
            raise _slow(late.seconds) from None
        except Full:
            raise _later(503, 10, "Too many new logins at once.", pause=True) from None
        except Exception as error:  # noqa: BLE001  # no error may let anybody in
            # only the kind of error: a driver's message may contain the database's password
            _log.error("no password can be checked: %s", type(error).__name__)
            raise _later(503, 5, "Passwords cannot be checked just now.") from None
        self._logins.record(user, username, password, accepted)
        if not accepted and not self._passes_on:
            raise _wrong(pause=not is_new and guesser is not None)
        return accepted

    def _guesser(self, username: str, password: str, address: str) -> Guesser | None:
        """Return the user name and the site of a login that may be a guess; None if the login is known to be right."""
        return None if self._logins.passwords.verified_by_any_worker(username, password) else (username, site(address))


def _line_break() -> Refusal:
    """Return the refusal of a path that MLflow's permission check and FastAPI would read differently.

    The regular expression of a FastAPI route ends with `$`, which also matches before a line break at the end. The
    handler then gets the path without the line break, and MLflow's permission check gets the whole path.
    """
    return Refusal(BAD_REQUEST, "A path must not contain a line break.", (b"cache-control", b"no-store"))


def _anonymous() -> Refusal:
    """Return the same response as MLflow (mlflow/server/auth/__init__.py `make_basic_auth_response`)."""
    text = (
        "You are not authenticated. Please see "
        "https://www.mlflow.org/docs/latest/auth/index.html#authenticating-to-mlflow on how to authenticate."
    )
    return Refusal(UNAUTHORIZED, text, (b"www-authenticate", b'Basic realm="mlflow"'))


def _wrong(*, pause: bool) -> Refusal:
    header = (b"www-authenticate", b'Basic realm="mlflow"')  # as MLflow sends it: browsers keep one password per realm
    return Refusal(UNAUTHORIZED, "You are not authenticated: wrong user name or password.", header, pause=pause)


def _slow(wait: float) -> Refusal:
    return _later(TOO_MANY_REQUESTS, wait, "Too many wrong passwords for this user from your address.", pause=True)


async def _answer(refusal: Refusal, send: Send) -> None:
    body = f"{refusal}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        refusal.header,
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
