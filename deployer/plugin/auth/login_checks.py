"""Looks up users and checks passwords in threads; guesses wait in fair queues and are throttled.

Logins that may be guesses have their own queues. A login that was accepted earlier never waits in them.
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
from typing import Any

from .authenticator import Authenticator
from .fair_executor import FairExecutor
from .fair_queue import FairQueue
from .guess_turns import GuessTurns
from .throttle import Throttle

AT_ONCE = 2  # concurrent password checks (verified_passwords.py)
LOOK_UPS_AT_ONCE = 8  # concurrent look-ups, each with a connection to the auth database
NEW_LOOK_UPS_AT_ONCE = 4  # concurrent look-ups for logins that may be guesses
# After a wrong password, a thread pauses for this many times the duration of the check. So guesses get only a part of
# the processor's time.
REST = 3
NICENESS = 10  # of the threads that check passwords: requests with known logins come first
# places in a queue: for all addresses, and for one address
LOOK_UPS = (4000, 4000)  # a look-up takes a millisecond
CHECKS = (1000, 600)  # existing users; 600 checks take half a minute if all passwords are right
CHECKS_OF_NOBODY = (500, 64)  # unknown users; 64 checks also take half a minute

Guesser = tuple[str, str]  # user name, site


class LoginChecks:
    """The threads and queues of one process. If `passes_on` is true, MLflow decides about wrong passwords."""

    def __init__(self, logins: Authenticator, throttle: Throttle, *, passes_on: bool, patience: float) -> None:
        self._logins = logins
        self._throttle = throttle
        self._passes_on = passes_on
        self._turns = GuessTurns(throttle, patience=patience)
        # an executor starts its threads when it needs them, so after a fork
        self._look_ups = ThreadPoolExecutor(LOOK_UPS_AT_ONCE, "logins")
        self._of_returning = ThreadPoolExecutor(1, "returning", initializer=_be_nice)
        new = ThreadPoolExecutor(NEW_LOOK_UPS_AT_ONCE, "new-logins")
        self._new_look_ups = FairExecutor(new, NEW_LOOK_UPS_AT_ONCE, FairQueue(*LOOK_UPS))
        checkers = ThreadPoolExecutor(AT_ONCE, "passwords", initializer=_be_nice)
        self._checkers = FairExecutor(checkers, AT_ONCE, FairQueue(*CHECKS), FairQueue(*CHECKS_OF_NOBODY))

    async def look_up(self, username: str, guesser: Guesser | None) -> Any | None:
        """Look up a user. Logins that may be guesses have their own queue, so that no other login waits for them."""
        if guesser is None:
            return await asyncio.get_running_loop().run_in_executor(self._look_ups, self._logins.look_up, username)
        return await self._new_look_ups.run(lambda: (self._logins.look_up(username), 0.0), guesser[1])

    async def decide(self, username: str, password: str, guesser: Guesser | None) -> tuple[bool, bytes]:
        """Return whether a password is right, and the digest of the hash and password that were checked.

        Concurrent requests with the same login share one call. Only a password that was checked and is wrong uses up
        a guess of its user and address. Otherwise, the guess is given back.
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
            wrong = checked  # the result is unknown here: a check that has begun counts as a guess
            raise
        finally:
            if not wrong:
                self._throttle.give_back(guesser)
        return right, pair

    async def _check(self, check: Callable[[], tuple[bool, float]], user: Any | None, guesser: Guesser) -> bool:
        """Wait for a turn, then check a password. Addresses take turns, and so do the users of one address.

        All unknown user names from one address share one lane (fair_queue.py). So a flood of unknown names delays
        neither other addresses nor existing users behind the same address. The price is that response times during a
        flood reveal which users exist. MLflow reveals this at any time, because it checks no password for an unknown
        user. If MLflow decides about logins, the gate does not know which users exist, and each name has its own lane.
        """
        username, site = guesser
        if user is None and not self._passes_on:
            return await self._checkers.run(check, site, second=True)
        return await self._checkers.run(check, site, username)

    def _checked(self, user: Any | None, username: str, password: str) -> tuple[bool, float]:
        """Check a password that may be a guess; return the result, and the seconds that this thread then pauses."""
        begun = time.thread_time()
        right = self._logins.check(user, username, password)
        is_guess = not right and not self._passes_on
        return right, REST * (time.thread_time() - begun) if is_guess else 0.0


def _be_nice() -> None:
    if sys.platform == "linux":  # only Linux has a niceness for each thread
        with suppress(OSError):  # a sandbox may forbid it, or the niceness is higher already and must not be lowered
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
