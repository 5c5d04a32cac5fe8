"""Looks at every request's password before MLflow does, without a thread that serves; knows nothing of deployer.

MLflow checks passwords in the threads that serve requests, and for artifacts on the event loop itself: a few people
with new logins, or one who guesses, would make everybody wait. Here they wait by themselves, and whose password turns
out to be wrong is refused. What is found out of right ones stays with the request (`fastauth_memory.Memory`); who is
let in is still decided by MLflow, which asks for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import math
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

if TYPE_CHECKING or __package__:
    from .credentials_header import credentials
else:  # the server finds this file beside launch.py
    from credentials_header import credentials

AT_ONCE = 2  # as many as are checked at once (fastauth_checks.py)
LOOK_UPS_AT_ONCE = 8  # connections to the auth database
REST = 3  # times as long as a wrong one took its thread checks no new one: who guesses has a part of the processor
PAUSE = 1.0  # seconds before a guesser is told the same again
MOST_WAITING = 1000  # logins to be checked; a minute's worth, of wrong ones three
UNAUTHORIZED, TOO_MANY_REQUESTS = 401, 429
IPV6_SITE = 64  # bits
NICENESS = 10  # of the threads that check: those who are logged in come first

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


class Throttle(Protocol):
    """`fastauth_checks.Throttle`."""

    def wait(self, key: tuple[str, str]) -> float:
        """Return 0, or the seconds to wait."""

    def take(self, key: tuple[str, str]) -> float:
        """Take one and return 0, or return the seconds to wait."""

    def give_back(self, key: tuple[str, str]) -> None:
        """Undo a `take`."""


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
    ) -> None:
        self._app = app
        self._logins = logins
        self._throttle = throttle
        self._is_open = is_open
        self._forwarded = forwarded
        self._access_log = access_log
        self._has_a_thread = has_a_thread
        self._passes_on = passes_on
        self._pause = pause
        # their threads come when needed, so after a fork
        self._look_ups = ThreadPoolExecutor(LOOK_UPS_AT_ONCE, "logins")
        self._checkers = ThreadPoolExecutor(AT_ONCE, "passwords", initializer=_be_nice)
        self._of_returning = ThreadPoolExecutor(1, "returning", initializer=_be_nice)  # who do not wait for guesses
        self._rest = threading.local()
        self._flights: dict[bytes, asyncio.Future[bool]] = {}  # by pair

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._logins.begin_anew()
        address = self._address(scope)
        begun, status, known = time.monotonic(), 500, None

        async def heard(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            try:
                if not self._is_open(scope["path"]) and (login := credentials(scope)):
                    known = login[0] if await self._accepts(*login, address, scope) else None
            except Refusal as refusal:
                if refusal.pause:
                    await asyncio.sleep(self._pause)
                await _answer(refusal, heard)
                return
            await self._app(scope, receive, heard)
        finally:
            if self._access_log:
                who = known if known and self._logins.let_in() and status != 401 else "-"  # MLflow has the last word
                _write_line(scope, address, who, status, time.monotonic() - begun)

    async def _accepts(self, username: str, password: str, address: str, scope: Scope) -> bool:
        try:
            if self._logins.was_right(username, password) and self._has_a_thread(scope):
                self._logins.expect(username, password)
                return True  # to be asked for; MLflow decides
            is_new = not self._logins.was_checked(username, password)
            if is_new and (guesser := self._guesser(username, password, address)):
                _slow(self._throttle.wait(guesser))  # before anything is looked up for it
            user = await self._look_up(username)
            accepted = self._logins.known(user, username, password)
            if accepted is None:
                accepted = await self._check(user, username, password, address)
                if accepted:
                    pair, user = self._logins.pair(user, username, password), await self._look_up(username)
                    if self._logins.pair(user, username, password) != pair:  # changed while others were checked
                        return await self._accepts(username, password, address, scope)
        except Refusal:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, nobody is let in by it
            # only its kind: a driver's text may hold the database's password
            _log.error("no password can be checked: %s", type(error).__name__)
            raise _later(503, 5, "Passwords cannot be checked just now.") from None
        self._logins.begin(user, username, password, accepted)
        if not accepted and not self._passes_on:
            raise _wrong(pause=not is_new and self._guesser(username, password, address) is not None)
        return accepted

    async def _look_up(self, username: str) -> Any | None:
        return await asyncio.get_running_loop().run_in_executor(self._look_ups, self._logins.look_up, username)

    async def _check(self, user: Any | None, username: str, password: str, address: str) -> bool:
        """Have a password checked, or wait for who has it checked already: many come at once after a change."""
        pair = self._logins.pair(user, username, password)
        flight = self._flights.get(pair)
        if flight is None:
            loop = asyncio.get_running_loop()
            if guesser := self._guesser(username, password, address):
                if len(self._flights) >= MOST_WAITING:
                    raise _later(503, 10, "Too many new logins at once.")
                _slow(self._throttle.take(guesser))
                flight = loop.run_in_executor(self._checkers, self._checked, user, username, password)
            else:
                flight = loop.run_in_executor(self._of_returning, self._logins.check, user, username, password)
            self._flights[pair] = flight
            flight.add_done_callback(lambda done: self._landed(pair, done, guesser))
        return await asyncio.shield(flight)

    def _checked(self, user: Any | None, username: str, password: str) -> bool:
        """Have what may be a guess checked, not before this thread has rested from the last wrong one."""
        left = getattr(self._rest, "until", 0.0) - time.monotonic()
        if left > 0:
            time.sleep(left)
        begun = time.thread_time()
        right = self._logins.check(user, username, password)
        if not right and not self._passes_on:
            self._rest.until = time.monotonic() + REST * (time.thread_time() - begun)
        return right

    def _guesser(self, username: str, password: str, address: str) -> tuple[str, str] | None:
        """Return who guesses, or None where it is no guess."""
        return None if self._logins.was_right_anywhere(username, password) else (username, _site(address))

    def _landed(self, pair: bytes, flight: asyncio.Future[bool], guesser: tuple[str, str] | None) -> None:
        del self._flights[pair]
        if guesser and (flight.cancelled() or flight.exception() or flight.result()):
            self._throttle.give_back(guesser)  # it was no wrong guess

    def _address(self, scope: Scope) -> str:
        peer = str((scope.get("client") or ("-",))[0])
        if not self._forwarded:
            return peer
        last = [value for name, value in scope["headers"] if name == b"x-forwarded-for"][-1:]
        return b"".join(last).rpartition(b",")[2].strip().decode("latin-1")[:64] or peer


def _wrong(*, pause: bool) -> Refusal:
    header = (b"www-authenticate", b'Basic realm="mlflow"')  # as MLflow does: browsers keep a password for a realm
    return Refusal(UNAUTHORIZED, "You are not authenticated: wrong user name or password.", header, pause=pause)


def _slow(wait: float) -> None:
    if wait:
        raise _later(TOO_MANY_REQUESTS, wait, "Too many wrong passwords for this user from your address.", pause=True)


def _site(address: str) -> str:
    """Return what stands for the addresses that one client has: of IPv6 as many as it likes."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address) or found.ipv4_mapped:
        return address
    return str(ipaddress.IPv6Network((found.packed, IPV6_SITE), strict=False))


def _be_nice() -> None:
    if sys.platform == "linux":  # where a thread may have a niceness of its own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


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
