"""Decides which connections of a process to close because their client takes too long; does not import deployer.

A stranger can open connections and send nothing, or one byte a minute. Each connection holds a file descriptor and
memory. Once a second, the server asks each connection what it waits for from its client, and since when. Requests need
no timers of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from types import MappingProxyType
from typing import NamedTuple, Protocol

MOST_HOLDING = 1024  # connections with a large head or body (http_protocol.py LIGHT) and no accepted login
BURST = 128  # this many of them at once are a burst; after a burst, freed memory is returned to the system
DISTRESS_SECONDS = 10  # a transfer without progress for this long no longer counts as serving a client


# What a connection may wait for from its client, and the maximum number of seconds. No limit applies to a whole upload
# or download: the times of "body" and "reading" start anew with every byte that moves.
LIMITS: Mapping[str, float] = MappingProxyType(
    {
        "head": 30,  # the rest of a request's headers; on a new connection also the first byte
        "body": 60,  # the next bytes of a body that the application waits for
        "answered body": 10,  # the rest of a body after the response
        "closing": 5,  # the client to read the last response and to close the connection
        "reading": 300,  # the client to read more of a response
        "idle": 130,  # the next request; uvicorn's own timer is shorter (uvicorn_server.py), but not always set
        "nothing": math.inf,  # the application works
    }
)
# connections that are closed first when descriptors run short, in this order; then come the slow ones
CHEAP = ("closing", "answered body", "head", "idle")
SLOW = ("body", "reading")
_SERVES = len(CHEAP) + 2  # the first rank of connections that serve a client


class Found(NamedTuple):
    """The state of a connection: what it waits for, since when, whether its login was accepted, and its data rate."""

    wait: str
    since: float  # seconds on the clock of the register
    authenticated: bool = False  # its request had a login that was accepted
    rate: float = 0.0  # bytes a second in both directions, since its request began


class Connection(Protocol):
    """The part of `http_protocol.Connection` that is used here."""

    def waits(self, now: float) -> tuple[str, float]:
        """Return what the connection waits for, and since when."""

    def progress(self, now: float) -> tuple[bool, float]:
        """Return whether its request's login was accepted, and the bytes a second since the request began."""

    def has_left(self) -> bool:
        """Tell whether the client has disconnected; uvicorn does not notice this while it reads nothing."""

    def end(self) -> None:
        """Close the connection at once, without sending buffered data."""


def is_overdue(wait: str, since: float, now: float, limits: Mapping[str, float]) -> bool:
    """Tell whether a client has kept the connection waiting for longer than the limit."""
    return now - since > limits[wait]


def spare(found: Iterable[Found], now: float, count: int, needed: int) -> list[int]:
    """Return the indices of up to `count` connections to close; at most `needed` of them are busy with a client.

    The order is:

    1. connections that serve no request, in the order of CHEAP; of each kind the longest wait first;
    2. transfers without an accepted login, the slowest first;
    3. transfers with a login but no progress for DISTRESS_SECONDS, the longest wait first;
    4. requests without an accepted login that the application is processing, the lowest data rate first;
    5. other transfers with a login, the slowest first.

    Connections of 4 and 5 count as busy with a client. A connection is never chosen while the application is processing
    its request and the login was accepted.
    """

    def rank(candidate: tuple[int, Found]) -> tuple[int, float]:
        _, (wait, since, authenticated, rate) = candidate
        if wait in CHEAP:
            return CHEAP.index(wait), since
        if wait not in SLOW:
            return _SERVES, rate
        if not authenticated:
            return len(CHEAP), rate
        return (len(CHEAP) + 1, since) if now - since > DISTRESS_SECONDS else (_SERVES + 1, rate)

    candidates = ((index, one) for index, one in enumerate(found) if not (one.authenticated and one.wait == "nothing"))
    chosen = nsmallest(count, candidates, key=rank)
    harmless = sum(rank(candidate)[0] < _SERVES for candidate in chosen)
    return [index for index, _ in chosen[: max(harmless, min(count, needed))]]


class Register:
    """The open connections of one process, all on one event loop."""

    def __init__(self, clock: Callable[[], float], limits: Mapping[str, float]) -> None:
        self._clock = clock
        self._limits = limits
        self._open: set[Connection] = set()
        self._overdue: set[Connection] = set()  # overdue at the last sweep
        self._holding: dict[Connection, None] = {}  # connections that hold much memory, the oldest first
        self._held_most = 0  # the largest number of these at once, since the last burst

    def __len__(self) -> int:
        """Return how many connections are open."""
        return len(self._open)

    def add(self, connection: Connection) -> None:
        """Add a new connection."""
        self._open.add(connection)

    def discard(self, connection: Connection) -> None:
        """Remove a closed connection."""
        self._open.discard(connection)
        self.release(connection)

    def hold(self, connection: Connection) -> None:
        """Record a connection that holds much memory.

        Above MOST_HOLDING, close the oldest such connection unless its login was accepted.
        """
        self._holding[connection] = None
        self._held_most = max(self._held_most, len(self._holding))
        if len(self._holding) > MOST_HOLDING:
            oldest = next(iter(self._holding))
            del self._holding[oldest]
            is_authenticated, _ = oldest.progress(self._clock())
            if not is_authenticated:
                oldest.end()

    def release(self, connection: Connection) -> None:
        """Record that a connection no longer holds much memory, because its request was answered."""
        self._holding.pop(connection, None)

    def burst_has_ended(self) -> bool:
        """Tell whether a burst has ended; True once for each burst.

        In a burst, at least BURST connections hold much memory at once. It ends when no connection does.
        """
        if self._held_most < BURST or self._holding:
            return False
        self._held_most = 0
        return True

    def sweep(self) -> None:
        """Close each connection whose client has disconnected, or that is overdue for the second time in a row.

        Between two sweeps the event loop reads the data that has arrived. So a slow process does not close connections
        whose client has sent its data in time.
        """
        now = self._clock()
        for connection in [found for found in self._open if found.has_left()]:
            connection.end()
        overdue = {found for found in self._open if is_overdue(*found.waits(now), now, self._limits)}
        for connection in overdue & self._overdue:
            connection.end()
        self._overdue = overdue

    def make_room(self, count: int, needed: int = 0) -> bool:
        """Close up to `count` connections, at most `needed` busy ones (see `spare`); tell whether any was closed."""
        now, connections = self._clock(), list(self._open)
        found = (Found(*connection.waits(now), *connection.progress(now)) for connection in connections)
        chosen = spare(found, now, count, needed)
        for index in chosen:
            self._open.discard(connections[index])  # the event loop closes it in its next iteration
            connections[index].end()
        return bool(chosen)
