"""Which passwords were checked already, how many are checked at once, and how fast one may guess; knows no MLflow.

No password is kept, only an HMAC of it under a key of this process.
"""

from __future__ import annotations

import hmac
import mmap
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future

REMEMBERED = 10_000  # pairs of each kind, about 2 MiB
KEPT = 2**16  # right passwords that all processes know of, 512 KiB
AT_ONCE = 2  # scrypt checks, 32 MiB each
GUESSES = 20  # wrong passwords in a row that nobody slows
SECONDS_PER_GUESS = 5.0  # and one each so many seconds after them
GUESSERS = 2**20  # that are told apart; 8 MiB, of which a page is used from its first guesser on


class Verified:
    """Remembers which passwords belong to which stored hashes and which do not; `check` is the slow comparison itself.

    A hash that changes makes its passwords unknown again: nothing here has to be told of it. Where the hash
    is not known only what was right may be remembered (`keep_wrong`): what is wrong now may be right later.
    """

    def __init__(
        self,
        check: Callable[[str, str], bool],
        size: int = REMEMBERED,
        at_once: int = AT_ONCE,
        *,
        keep_wrong: bool = True,
    ) -> None:
        self._check = check
        self._size = size
        self._keep_wrong = keep_wrong
        self._key = secrets.token_bytes(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._wrong: OrderedDict[bytes, None] = OrderedDict()  # apart: guesses must not push out what is right
        self._once: OrderedDict[bytes, None] = OrderedDict()  # user and password alone, whatever the hash is by now
        self._not_once: OrderedDict[bytes, None] = OrderedDict()  # the same of wrong ones
        self._anywhere = memoryview(mmap.mmap(-1, 8 * KEPT)).cast("Q")  # of these, a part of the digest in its place
        self._flights: dict[bytes, Future[bool]] = {}
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(at_once)

    def digest(self, *texts: str) -> bytes:
        """Return what stands for these texts; useless without this process's key."""
        told = b"".join(b"%d:%b" % (len(part), part) for part in (text.encode("utf-8", "replace") for text in texts))
        return hmac.new(self._key, told, "sha256").digest()

    def known(self, user: str, stored: str, password: str) -> bool | None:
        """Tell what was found out about this password of this user's hash `stored`, or None."""
        pair = self.digest(user, stored, password)
        with self._lock:
            return self._known(pair)

    def was_right(self, user: str, password: str) -> bool:
        """Tell whether this was the user's password once: who has not heard of a new one yet does not guess."""
        with self._lock:
            return self.digest(user, password) in self._once

    def was_checked(self, user: str, password: str) -> bool:
        """Tell whether this password was checked for this user once, whatever came of it: it is no new guess."""
        digest = self.digest(user, password)
        with self._lock:
            return digest in self._once or digest in self._not_once

    def was_right_anywhere(self, user: str, password: str) -> bool:
        """Tell whether that was found out in any of the processes that were forked from the one that made this."""
        place, mark = self._mark(user, password)
        return self._anywhere[place] == mark

    def _mark(self, user: str, password: str) -> tuple[int, int]:
        digest = self.digest(user, password)
        return int.from_bytes(digest[:8], "big") % KEPT, int.from_bytes(digest[8:16], "big")

    def _known(self, pair: bytes) -> bool | None:
        for memory, answer in ((self._right, True), (self._wrong, False)):
            if pair in memory:
                memory.move_to_end(pair)
                return answer
        return None

    def matches(self, user: str, stored: str, password: str) -> bool:
        """Tell whether `password` belongs to the hash `stored`; simultaneous askers of one pair share one check."""
        pair = self.digest(user, stored, password)
        with self._lock:
            known = self._known(pair)
            if known is not None:
                return known
            flight = self._flights.get(pair)
            first = flight is None
            if flight is None:
                flight = self._flights[pair] = Future()
        return self._fly(pair, flight, user, stored, password) if first else flight.result()

    def _fly(self, pair: bytes, flight: Future[bool], user: str, stored: str, password: str) -> bool:
        try:
            with self._slots:
                right = self._check(stored, password)
            if right:
                self._remember(self._right, pair)
                self._remember(self._once, self.digest(user, password))
                place, mark = self._mark(user, password)
                self._anywhere[place] = mark
            elif self._keep_wrong:
                self._remember(self._wrong, pair)
                self._remember(self._not_once, self.digest(user, password))
            flight.set_result(right)
        except BaseException as error:
            flight.set_exception(error)
            raise
        finally:
            with self._lock:
                del self._flights[pair]
        return right

    def _remember(self, memory: OrderedDict[bytes, None], digest: bytes) -> None:
        with self._lock:
            memory[digest] = None
            while len(memory) > self._size:
                memory.popitem(last=False)


class Throttle:
    """Lets `burst` go at once for each key, and one each `seconds` after them (generic cell rate algorithm).

    It is for one thread of each process, and those that are forked from the one that made it count together. Two of
    them at the very same moment may count as one: a lock that all shared would be kept for ever by one that is killed.
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
        self._due = memoryview(mmap.mmap(-1, 8 * GUESSERS)).cast("d")  # when all that was taken is given back

    def wait(self, key: Hashable) -> float:
        """Return the seconds until one can be taken, 0 if it can be now."""
        return max(0.0, self._next(key) - self._burst * self._seconds - self._clock())

    def take(self, key: Hashable) -> float:
        """Take one; return 0, or without taking it the seconds to wait for it."""
        wait = self.wait(key)
        if not wait:
            self._due[self._place(key)] = self._next(key)
        return wait

    def _next(self, key: Hashable) -> float:
        return max(self._due[self._place(key)], self._clock()) + self._seconds

    def give_back(self, key: Hashable) -> None:
        """Undo one `take`: it was no guess."""
        self._due[self._place(key)] -= self._seconds

    def _place(self, key: Hashable) -> int:
        return hash((self._secret, key)) % GUESSERS
