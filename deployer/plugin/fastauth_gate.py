"""Looks at every request's password before MLflow does, without a thread that serves; knows nothing of deployer.

MLflow checks passwords in the threads that serve requests, and for artifacts on the event loop itself: a few people
with new logins, or one who guesses, would make everybody wait. Here they wait by themselves, and whose password turns
out to be wrong is refused. What is found out of right ones stays with the request (`fastauth_memory.Memory`); who is
let in is still decided by MLflow, which asks for it.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import sys
import time
from collections.abc import Awaitable, Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

if TYPE_CHECKING or __package__:
    from .client_presence import Client, ClientLeft
    from .credentials_header import credentials
    from .fair_queue import Full
    from .guess_turns import PATIENCE, Throttle, TooLate
    from .login_checks import Guesser, LoginChecks
    from .refusal_pause import RefusalPause
    from .shared_work import SharedWork
else:  # the server finds these files beside launch.py
    from client_presence import Client, ClientLeft
    from credentials_header import credentials
    from fair_queue import Full
    from guess_turns import PATIENCE, Throttle, TooLate
    from login_checks import Guesser, LoginChecks
    from refusal_pause import RefusalPause
    from shared_work import SharedWork

PAUSE = 1.0  # seconds before a guesser is told the same again
UNAUTHORIZED, TOO_MANY_REQUESTS = 401, 429
CLIENT_LEFT = 499  # in the access log alone, as nginx writes it
IPV6_SITE = 64  # bits

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("deployer")


class Logins(Protocol):
    """`fastauth.Logins`, or `fastauth.MLflowsOwn`."""

    def look_up(self, username: str) -> Any | None:
        """Return a user or None."""

    def pair(self, user: Any | None, username: str, password: str) -> bytes:
        """Return what stands for a stored hash and a password."""

    def known(self, user: Any | None, username: str, password: str) -> bool | None:
        """Tell what is known without a check."""

    def was_right(self, username: str, password: str) -> bool:
        """Tell whether this was the user's password once."""

    def was_checked(self, username: str, password: str) -> bool:
        """Tell whether this password was checked for this user once."""

    def was_right_anywhere(self, username: str, password: str) -> bool:
        """Tell whether this was the user's password once, for any process of this server."""

    def check(self, user: Any | None, username: str, password: str) -> bool:
        """Tell whether the password is right, slowly."""

    def begin_anew(self) -> None:
        """Forget the request before."""

    def begin(self, user: Any | None, username: str, password: str, accepted: bool) -> None:
        """Keep it until the request is served."""

    def expect(self, username: str, password: str) -> None:
        """Leave it to be looked up when the request is served."""

    def let_in(self) -> bool:
        """Tell whether the login was accepted, as far as it was looked up."""


class Refusal(Exception):
    """A request that is answered here: status, what to tell, a header about what next; `pause` for who guesses."""

    def __init__(self, status: int, text: str, header: tuple[bytes, bytes], *, pause: bool = False) -> None:
        super().__init__(text)
        self.status = status
        self.header = header
        self.pause = pause


def _later(status: int, seconds: float, text: str, *, pause: bool = False) -> Refusal:
    whole = max(1, math.ceil(seconds))
    return Refusal(status, f"{text} Try again in {whole} s.", (b"retry-after", b"%d" % whole), pause=pause)


class Gate:
    """ASGI middleware around all others that have to do with logins.

    `is_open` tells of a path whether nobody is asked for a password there.
    `forwarded`: requests come through one proxy that appends its client's address to X-Forwarded-For; all before that
    is the client's own saying. `access_log`: say who asked for what, in the Common Log Format with milliseconds added.
    `has_a_thread` tells of a request whether MLflow asks for its login in a thread: what was right once is left to it.
    `passes_on`: MLflow decides about wrong passwords, too: it may have another way to find out who asks.
    `pause`: seconds before a guesser is answered where nothing was checked. One who comes again at once has others wait
    for the processor.
    """

    def __init__(
        self,
        app: App,
        logins: Logins,
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
        self._shared = SharedWork[tuple[bool, bytes]]()  # by login and where a guess comes from

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._logins.begin_anew()
        address = self._address(scope)
        client = Client(scope, receive)
        begun, status, known = time.monotonic(), 500, None

        async def heard(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            try:
                if not self._is_open(scope["path"]):
                    login = credentials(scope)
                    if login is None and not self._passes_on:
                        raise _anonymous()  # before its body is read, and before MLflow looks at other headers
                    known = login[0] if login and await self._accepts(*login, address, scope, client) else None
            except Refusal as refusal:
                if refusal.pause:
                    await self._pause.wait(_site(address))
                await _answer(refusal, heard)
                return
            except ClientLeft:
                status = CLIENT_LEFT
                return
            await self._app(scope, client.receive, heard)
        finally:
            if self._access_log:
                who = known if known and self._logins.let_in() and status != 401 else "-"  # MLflow has the last word
                _write_line(scope, address, who, status, time.monotonic() - begun)

    async def _accepts(self, username: str, password: str, address: str, scope: Scope, client: Client) -> bool:
        try:
            was_right = self._logins.was_right(username, password)
            if was_right and self._has_a_thread(scope):
                self._logins.expect(username, password)
                return True  # to be asked for; MLflow decides
            guesser = None if was_right else self._guesser(username, password, address)
            is_new = guesser is not None and not self._logins.was_checked(username, password)
            user = accepted = None
            if not is_new:  # else nothing is looked up before the guess has its turn
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
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody is let in by it
            # only its kind: a driver's text may hold the database's password
            _log.error("no password can be checked: %s", type(error).__name__)
            raise _later(503, 5, "Passwords cannot be checked just now.") from None
        self._logins.begin(user, username, password, accepted)
        if not accepted and not self._passes_on:
            raise _wrong(pause=not is_new and guesser is not None)
        return accepted

    def _guesser(self, username: str, password: str, address: str) -> Guesser | None:
        """Return who guesses, or None where it is no guess."""
        return None if self._logins.was_right_anywhere(username, password) else (username, _site(address))

    def _address(self, scope: Scope) -> str:
        peer = str((scope.get("client") or ("-",))[0])
        if not self._forwarded:
            return peer
        last = [value for name, value in scope["headers"] if name == b"x-forwarded-for"][-1:]
        return _without_port(b"".join(last).rpartition(b",")[2].strip().decode("latin-1")[:64]) or peer


def _anonymous() -> Refusal:
    """Return MLflow's own answer (mlflow/server/auth/__init__.py `make_basic_auth_response`)."""
    text = (
        "You are not authenticated. Please see "
        "https://www.mlflow.org/docs/latest/auth/index.html#authenticating-to-mlflow on how to authenticate."
    )
    return Refusal(UNAUTHORIZED, text, (b"www-authenticate", b'Basic realm="mlflow"'))


def _wrong(*, pause: bool) -> Refusal:
    header = (b"www-authenticate", b'Basic realm="mlflow"')  # as MLflow does: browsers keep a password for a realm
    return Refusal(UNAUTHORIZED, "You are not authenticated: wrong user name or password.", header, pause=pause)


def _slow(wait: float) -> Refusal:
    return _later(TOO_MANY_REQUESTS, wait, "Too many wrong passwords for this user from your address.", pause=True)


def _without_port(address: str) -> str:
    """Return an address without the port that some proxies append, which is another one for each connection."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, _, port = address.partition(":")
    return host if port.isdecimal() else address


def _site(address: str) -> str:
    """Return what stands for the addresses that one client has: its IPv4 address, or its IPv6 network."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found.packed, IPV6_SITE), strict=False))


async def _answer(refusal: Refusal, send: Send) -> None:
    body = f"{refusal}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        refusal.header,
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _write_line(scope: Scope, address: str, username: str, status: int, seconds: float) -> None:
    """Without the query: what people search for is nobody's business. A name that is not plain is percent-encoded."""
    who, path = quote(username, safe="@.+-_"), quote(scope["path"], safe="/@:+=,;~!*'()")
    now = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
    line = f'{quote(address, safe=":")} - {who} [{now}] "{scope["method"]} {path}" {status} - {seconds * 1000:.0f}\n'
    sys.stdout.write(line)
