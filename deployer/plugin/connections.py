"""Decides which connections of one process are closed: those whose client waits too long; knows nothing of deployer.

A stranger may open connections and send nothing, or a byte a minute. Each holds a file descriptor and memory. Every
second the server asks each connection what its client owes, and since when. No request pays for a timer of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from types import MappingProxyType
from typing import NamedTuple, Protocol

MOST_HOLDING = 1024  # connections with a large head or body (http_protocol.py LIGHT) whose login was not accepted yet
BURST = 128  # such connections at once, after whose end the freed memory is worth to be returned
DISTRESS_SECONDS = 10  # without progress, after which a client with a login loses its place first


# What a connection may wait for from its client, and for how many seconds at most. None of them bounds a whole upload
# or download: "body" and "reading" begin anew with every byte that moves.
LIMITS: Mapping[str, float] = MappingProxyType(
    {
        "head": 30,  # the rest of a request's headers; on a new connection also their first byte
        "body": 60,  # the next bytes of a body that the application waits for
        "answered body": 10,  # the rest of a body whose request was answered before
        "closing": 5,  # the client to read the last answer and to close
        "reading": 300,  # the client to take more of an answer
        "idle": 130,  # the next request; uvicorn's own timer is shorter (serving.py), but not always armed
        "nothing": math.inf,  # the application works
    }
)
# which are closed first where descriptors run short; the slow ones after that
CHEAP = ("closing", "answered body", "head", "idle")
SLOW = ("body", "reading")
_SERVES = len(CHEAP) + 2  # the first rank of connections that serve a client


class Found(NamedTuple):
    """What is known of one connection: what it waits for, since when, and whom it serves how fast."""

    wait: str
    since: float  # seconds, as the clock of the register
    let_in: bool = False  # its request brought a login that was accepted
    rate: float = 0.0  # bytes a second, both ways, since its request began


class Connection(Protocol):
    """`http_protocol.Connection`."""

    def waits(self, now: float) -> tuple[str, float]:
        """Return what it waits for, and since when."""

    def progress(self, now: float) -> tuple[bool, float]:
        """Return whether its request's login was accepted, and the bytes a second since the request began."""

    def has_left(self) -> bool:
        """Tell whether the client has left unnoticed: nothing is read from its connection now."""

    def end(self) -> None:
        """Close it at once, without sending what is left."""


def is_overdue(wait: str, since: float, now: float, limits: Mapping[str, float]) -> bool:
    """Tell whether a client has owed something for too long."""
    return now - since > limits[wait]


def spare(found: Iterable[Found], now: float, count: int, needed: int) -> list[int]:
    """Return the indices of up to `count` connections whose end harms least; at most `needed` of them serve a client.

    First go those that serve nobody: the oldest without a complete head, then those that have been idle for longest.
    Then those of strangers whose body or answer moves, the slowest first. Then those without progress for
    DISTRESS_SECONDS in spite of a login. The rest serve a client: strangers whose request the application works on, the
    oldest first, and at last the slowest transfer with a login. A request with a login that the application works on is
    never among these.
    """

    def rank(candidate: tuple[int, Found]) -> tuple[int, float]:
        _, (wait, since, let_in, rate) = candidate
        if wait in CHEAP:
            return CHEAP.index(wait), since
        if wait not in SLOW:
            return _SERVES, rate
        if not let_in:
            return len(CHEAP), rate
        return (len(CHEAP) + 1, since) if now - since > DISTRESS_SECONDS else (_SERVES + 1, rate)

    candidates = ((index, one) for index, one in enumerate(found) if not (one.let_in and one.wait == "nothing"))
    chosen = nsmallest(count, candidates, key=rank)
    harmless = sum(rank(candidate)[0] < _SERVES for candidate in chosen)
    return [index for index, _ in chosen[: max(harmless, min(count, needed))]]


class Register:
    """The open connections of one process, all on one event loop."""

    def __init__(self, clock: Callable[[], float], limits: Mapping[str, float]) -> None:
        self._clock = clock
        self._limits = limits
        self._open: set[Connection] = set()
        self._overdue: set[Connection] = set()  # at the last sweep
        self._holding: dict[Connection, None] = {}  # the oldest first
        self._held_most = 0  # of these at once, since the last burst

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def add(self, connection: Connection) -> None:
        """Take note of a new one."""
        self._open.add(connection)

    def discard(self, connection: Connection) -> None:
        """Forget one that was closed."""
        self._open.discard(connection)
        self.release(connection)

    def hold(self, connection: Connection) -> None:
        """Take note of one that holds much; above MOST_HOLDING, close the oldest unless its login was accepted."""
        self._holding[connection] = None
        self._held_most = max(self._held_most, len(self._holding))
        if len(self._holding) > MOST_HOLDING:
            oldest = next(iter(self._holding))
            del self._holding[oldest]
            is_let_in, _ = oldest.progress(self._clock())
            if not is_let_in:
                oldest.end()

    def release(self, connection: Connection) -> None:
        """Forget that a connection held much: its request was answered."""
        self._holding.pop(connection, None)

    def burst_has_ended(self) -> bool:
        """Tell once after each burst that no connection of it holds much any more."""
        if self._held_most < BURST or self._holding:
            return False
        self._held_most = 0
        return True

    def sweep(self) -> None:
        """Close each connection whose client has left unnoticed, or is overdue and was at the last call.

        In between the event loop reads what has arrived: where the process itself was slow, no client is to blame.
        """
        now = self._clock()
        for connection in [found for found in self._open if found.has_left()]:
            connection.end()
        overdue = {found for found in self._open if is_overdue(*found.waits(now), now, self._limits)}
        for connection in overdue & self._overdue:
            connection.end()
        self._overdue = overdue

    def make_room(self, count: int, needed: int = 0) -> bool:
        """Close up to `count` connections, at most `needed` if they serve a client; tell whether there was one."""
        now, connections = self._clock(), list(self._open)
        found = (Found(*connection.waits(now), *connection.progress(now)) for connection in connections)
        chosen = spare(found, now, count, needed)
        for index in chosen:
            self._open.discard(connections[index])  # the event loop closes it in its next turn
            connections[index].end()
        return bool(chosen)
