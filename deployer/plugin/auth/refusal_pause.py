"""Delays refusals, so that a client that repeats refused requests does not take processor time from others."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter

PER_SECOND = 100  # refusals of one address, on any number of connections
LONGEST = 10  # times the usual pause
MOST_WAITING = 4096  # refusals of all addresses; fewer if the process has few file descriptors
PART_OF_DESCRIPTORS = 4


class RefusalPause:
    """Waits `seconds` before a refusal, and longer if more refusals of the same address wait already."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: Counter[str] = Counter()  # refusals by address
        self._total = 0

    async def wait(self, address: str) -> None:
        """Wait before a refusal is sent to this address; do not wait if too many refusals wait already."""
        if self._total >= most_waiting():
            return  # each waiting refusal holds a connection
        seconds = self.seconds(self._waiting[address])
        self._waiting[address] += 1
        self._total += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._total -= 1
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]

    def seconds(self, waiting: int) -> float:
        """Return the delay of a refusal in seconds; `waiting` counts the delayed refusals of the same address."""
        return self._seconds * min(LONGEST, 1 + waiting / PER_SECOND)


def most_waiting() -> int:
    """Return how many refusals may wait; read each time, because the descriptor limit may be raised after the start."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_WAITING if soft == resource.RLIM_INFINITY else min(MOST_WAITING, soft // PART_OF_DESCRIPTORS)
