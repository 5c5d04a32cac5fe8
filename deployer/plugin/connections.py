"""Decides which connections of one process are closed: those whose client waits too long; knows nothing of deployer.

A stranger may open connections and send nothing, or a byte a minute. Each holds a file descriptor and memory. Every
second the server asks each connection what its client owes, and since when. No request pays for a timer of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from types import MappingProxyType
from typing import Protocol

DISTRESS_SECONDS = 10  # without progress, after which a connection may be closed where descriptors run short


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
# which are closed first where descriptors run short; the slow ones only after DISTRESS_SECONDS without progress
CHEAP = ("closing", "answered body", "head", "idle")
SLOW = ("body", "reading")


class Connection(Protocol):
    """`http_protocol.Connection`."""

    def waits(self, now: float) -> tuple[str, float]:
        """Return what it waits for, and since when."""

    def end(self) -> None:
        """Close it at once, without sending what is left."""


def is_overdue(wait: str, since: float, now: float, limits: Mapping[str, float]) -> bool:
    """Tell whether a client has owed something for too long."""
    return now - since > limits[wait]


def spare(found: Iterable[tuple[str, float]], now: float, count: int) -> list[int]:
    """Return the indices of up to `count` connections whose end harms least: none that serves a client.

    The oldest without a complete head go first, then those that have been idle for longest.
    """

    def rank(candidate: tuple[int, str, float]) -> tuple[int, float]:
        _, wait, since = candidate
        return (CHEAP.index(wait) if wait in CHEAP else len(CHEAP)), since

    candidates = (
        (index, wait, since)
        for index, (wait, since) in enumerate(found)
        if wait in CHEAP or (wait in SLOW and now - since > DISTRESS_SECONDS)
    )
    return [index for index, _, _ in nsmallest(count, candidates, key=rank)]


class Register:
    """The open connections of one process, all on one event loop."""

    def __init__(self, clock: Callable[[], float], limits: Mapping[str, float]) -> None:
        self._clock = clock
        self._limits = limits
        self._open: set[Connection] = set()
        self._overdue: set[Connection] = set()  # at the last sweep

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def add(self, connection: Connection) -> None:
        """Take note of a new one."""
        self._open.add(connection)

    def discard(self, connection: Connection) -> None:
        """Forget one that was closed."""
        self._open.discard(connection)

    def sweep(self) -> None:
        """Close each connection whose client is overdue, and was at the last call.

        In between the event loop reads what has arrived: where the process itself was slow, no client is to blame.
        """
        now = self._clock()
        overdue = {found for found in self._open if is_overdue(*found.waits(now), now, self._limits)}
        for connection in overdue & self._overdue:
            connection.end()
        self._overdue = overdue

    def make_room(self, count: int) -> bool:
        """Close up to `count` connections that serve nobody; tell whether there was one."""
        now, connections = self._clock(), list(self._open)
        chosen = spare((connection.waits(now) for connection in connections), now, count)
        for index in chosen:
            self._open.discard(connections[index])  # the event loop closes it in its next turn
            connections[index].end()
        return bool(chosen)
