"""Limits the rate of guesses for each user and address; does not import MLflow."""

from __future__ import annotations

import mmap
import secrets
import time
from collections.abc import Callable, Hashable

GUESSES = 20  # wrong passwords in a row without a delay
SECONDS_PER_GUESS = 5.0  # after these, for each further guess
GUESSERS = 2**20  # slots for users and addresses: 8 MiB; pages take memory when they are first used


class Throttle:
    """Allows `burst` guesses at once for each key, then one guess every `seconds` (generic cell rate algorithm).

    One thread of each process uses it. Workers are forked after its creation, and share the counts. Two guesses at the
    very same moment may count as one. A lock that all processes share would avoid this, but would stay locked for ever
    if its owner were killed.
    """

    def __init__(
        self,
        burst: int = GUESSES,
        seconds: float = SECONDS_PER_GUESS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._burst = burst
        self._seconds = seconds
        self._clock = clock
        self._secret = secrets.token_bytes(16)  # salted, so that clients cannot craft slot collisions
        # by slot: the time at which the whole burst is available again
        self._due = memoryview(mmap.mmap(-1, 8 * GUESSERS)).cast("d")

    def wait(self, key: Hashable) -> float:
        """Return the seconds until a guess is allowed, 0 if it is allowed now."""
        return max(0.0, self._next(key) - self._burst * self._seconds - self._clock())

    def take(self, key: Hashable) -> float:
        """Take one guess and return 0, or take none and return the seconds to wait."""
        wait = self.wait(key)
        if not wait:
            self._due[self._place(key)] = self._next(key)
        return wait

    def _next(self, key: Hashable) -> float:
        return max(self._due[self._place(key)], self._clock()) + self._seconds

    def give_back(self, key: Hashable) -> None:
        """Undo one `take` that turned out not to be a guess."""
        self._due[self._place(key)] -= self._seconds

    def _place(self, key: Hashable) -> int:
        return hash((self._secret, key)) % GUESSERS
