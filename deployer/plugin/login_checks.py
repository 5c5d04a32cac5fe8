"""Looks up users and checks passwords in threads: guesses in fair order and at the rate of the throttle.

Known logins, which were right once, pass all queues of those that may be guesses.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING or __package__:
    from .fair_executor import FairExecutor
    from .fair_queue import FairQueue
    from .guess_turns import GuessTurns, Throttle
else:  # the server finds these files beside launch.py
    from fair_executor import FairExecutor
    from fair_queue import FairQueue
    from guess_turns import GuessTurns, Throttle

AT_ONCE = 2  # passwords that are checked at once (fastauth_checks.py)
LOOK_UPS_AT_ONCE = 8  # connections to the auth database
NEW_LOOK_UPS_AT_ONCE = 4  # look-ups at once for logins that may be guesses
REST = 3  # a thread rests this many times as long as a wrong password took: guesses get a part of the processor
NICENESS = 10  # of the threads that check: requests of known logins come first
# places of a queue: for all addresses, and for one
LOOK_UPS = (4000, 4000)  # a look-up takes a millisecond
CHECKS = (1000, 600)  # users that exist; half a minute of right passwords for one address
CHECKS_OF_NOBODY = (500, 64)  # users that do not exist; half a minute, too

Guesser = tuple[str, str]  # user name, site


class Logins(Protocol):
    """`fastauth.Logins`, or `fastauth.MLflowsOwn`."""

    def look_up(self, username: str) -> Any | None:
        """Return a user or None."""

    def pair(self, user: Any | None, username: str, password: str) -> bytes:
        """Return what stands for a stored hash and a password."""

    def known(self, user: Any | None, username: str, password: str) -> bool | None:
        """Tell what is known without a check."""

    def check(self, user: Any | None, username: str, password: str) -> bool:
        """Tell whether the password is right, slowly."""


class LoginChecks:
    """The threads and the queues of one process. `passes_on`: MLflow decides about wrong passwords, too."""

    def __init__(self, logins: Logins, throttle: Throttle, *, passes_on: bool, patience: float) -> None:
        self._logins = logins
        self._throttle = throttle
        self._passes_on = passes_on
        self._turns = GuessTurns(throttle, patience=patience)
        # their threads come when needed, so after a fork
        self._look_ups = ThreadPoolExecutor(LOOK_UPS_AT_ONCE, "logins")
        self._of_returning = ThreadPoolExecutor(1, "returning", initializer=_be_nice)
        new = ThreadPoolExecutor(NEW_LOOK_UPS_AT_ONCE, "new-logins")
        self._new_look_ups = FairExecutor(new, NEW_LOOK_UPS_AT_ONCE, FairQueue(*LOOK_UPS))
        checkers = ThreadPoolExecutor(AT_ONCE, "passwords", initializer=_be_nice)
        self._checkers = FairExecutor(checkers, AT_ONCE, FairQueue(*CHECKS), FairQueue(*CHECKS_OF_NOBODY))

    async def look_up(self, username: str, guesser: Guesser | None) -> Any | None:
        """Look up a user. Logins that may be guesses have a queue of their own, so that nobody else waits for them."""
        if guesser is None:
            return await asyncio.get_running_loop().run_in_executor(self._look_ups, self._logins.look_up, username)
        return await self._new_look_ups.run(lambda: (self._logins.look_up(username), 0.0), guesser[1])

    async def decide(self, username: str, password: str, guesser: Guesser | None) -> tuple[bool, bytes]:
        """Return whether a password is right, and the pair that was checked; all requests with this login wait here.

        A guess is given back to the budget of its user and address if its password was not checked or is right.
        """
        if guesser is None:
            user = await self.look_up(username, None)
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._of_returning, self._logins.check, user, username, password)
            return right, self._logins.pair(user, username, password)
        await self._turns.take(guesser)
        checked, wrong = False, False

        def check() -> tuple[bool, float]:
            nonlocal checked
            checked = True
            return self._checked(user, username, password)

        try:
            user = await self.look_up(username, guesser)
            pair = self._logins.pair(user, username, password)
            known = self._logins.known(user, username, password)
            right = await self._check(check, user, guesser) if known is None else known
            wrong = checked and not right
        except asyncio.CancelledError:
            wrong = checked  # nobody waits for the result, which the thread still finds
            raise
        finally:
            if not wrong:
                self._throttle.give_back(guesser)
        return right, pair

    async def _check(self, check: Callable[[], tuple[bool, float]], user: Any | None, guesser: Guesser) -> bool:
        """Check a password when it is the turn of its address, and there of its user.

        All invented names of an address share one lane. So a flood of them delays neither another address nor a user
        behind the same one. The price: under a flood the time of an answer tells which users exist. MLflow tells that
        at any time (it checks no password of a user that does not exist). Where MLflow decides, nobody knows here which
        users exist, and each name has a lane.
        """
        username, site = guesser
        if user is None and not self._passes_on:
            return await self._checkers.run(check, site, second=True)
        return await self._checkers.run(check, site, username)

    def _checked(self, user: Any | None, username: str, password: str) -> tuple[bool, float]:
        """Check what may be a guess; return the seconds, too, for which this thread rests if it was wrong."""
        begun = time.thread_time()
        right = self._logins.check(user, username, password)
        is_guess = not right and not self._passes_on
        return right, REST * (time.thread_time() - begun) if is_guess else 0.0


def _be_nice() -> None:
    if sys.platform == "linux":  # where a thread may have a niceness of its own
        with suppress(OSError):  # a sandbox may forbid it, and a server may be nicer already: nobody lowers niceness
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
