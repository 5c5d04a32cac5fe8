"""Remembers checked passwords, and bounds concurrent checks; does not import MLflow.

No password is stored, only its HMAC under a random key of this process.
"""

from __future__ import annotations

import hmac
import mmap
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future

REMEMBERED = 10_000  # digests of each kind, about 2 MiB
KEPT = 2**16  # right passwords that all processes know, 512 KiB
AT_ONCE = 2  # scrypt checks at once, 32 MiB each


class Verified:
    """Remembers which passwords match which password hashes and which do not; `check` is the slow comparison itself.

    When a hash changes, the results for the old hash no longer apply. So callers need not report changes. If the hash
    is not known, `keep_wrong` must be false: a password that is wrong now may be right later.
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
        self._wrong: OrderedDict[bytes, None] = OrderedDict()  # separate: guesses must not push out right passwords
        self._once: OrderedDict[bytes, None] = OrderedDict()  # digests of user and password, whatever the hash is now
        self._not_once: OrderedDict[bytes, None] = OrderedDict()  # the same for wrong passwords
        self._anywhere = memoryview(mmap.mmap(-1, 8 * KEPT)).cast("Q")  # marks of `_once`, shared by all workers
        self._flights: dict[bytes, Future[bool]] = {}
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(at_once)

    def digest(self, *texts: str) -> bytes:
        """Return a digest of these texts; nobody can use it without the key of this process."""
        told = b"".join(b"%d:%b" % (len(part), part) for part in (text.encode("utf-8", "replace") for text in texts))
        return hmac.new(self._key, told, "sha256").digest()

    def known(self, user: str, stored: str, password: str) -> bool | None:
        """Return whether this password matches the user's hash `stored`, or None if that is not known."""
        pair = self.digest(user, stored, password)
        with self._lock:
            return self._known(pair)

    def was_right(self, user: str, password: str) -> bool:
        """Tell whether this was once the user's password: a client that still sends an old one is not guessing."""
        with self._lock:
            return self.digest(user, password) in self._once

    def was_checked(self, user: str, password: str) -> bool:
        """Tell whether this password was checked for this user before, with any result. Then it is not a new guess."""
        digest = self.digest(user, password)
        with self._lock:
            return digest in self._once or digest in self._not_once

    def verified_by_any_worker(self, user: str, password: str) -> bool:
        """Tell whether any worker has accepted this password.

        This covers all workers that were forked from the process that made this object.
        """
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
        """Check `password` against the hash `stored`; concurrent checks of the same credentials are coalesced."""
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
