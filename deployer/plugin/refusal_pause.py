"""Delays refusals, so that a client that repeats refused requests does not take the processor from others."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter

PER_SECOND = 100  # refusals of one address, however many connections it has
LONGEST = 10  # times the usual pause
MOST_WAITING = 4096  # refusals of all addresses, and no more than a part of the file descriptors
PART_OF_DESCRIPTORS = 4


class RefusalPause:
    """Waits `seconds` before a refusal, longer the more refusals of the same address wait already."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: Counter[str] = Counter()  # refusals by address
        self._total = 0

    async def wait(self, address: str) -> None:
        """Wait before a refusal of this address is sent; not at all if too many wait."""
        if self._total >= most_waiting():
            return  # each of them holds a connection
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
        """Return the seconds that a refusal waits while `waiting` others of its address do."""
        return self._seconds * min(LONGEST, 1 + waiting / PER_SECOND)


def most_waiting() -> int:
    """Return how many refusals may wait: the limit of descriptors may be raised after the start."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_WAITING if soft == resource.RLIM_INFINITY else min(MOST_WAITING, soft // PART_OF_DESCRIPTORS)
