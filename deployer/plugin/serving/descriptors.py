"""Keeps connections from using up the file descriptors of a process; does not import deployer.

Databases and files also need descriptors, so the server reserves a part of all descriptors for them. If connections
have taken the rest, a new connection makes others close (connections.py), or it waits until there is room.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
from typing import Any, Protocol

LARGEST_RESERVE = 1024  # for databases, artifacts and logs; half of all descriptors if there are few
# Connections of one process. They need a limit, because the hard limit of descriptors may be a million. Measured: 3900
# strangers each sent as much as the server holds before a login is accepted (http_protocol.py). The process then took
# 330 MiB, or 85 KiB for each connection.
MOST_CONNECTIONS = 4096
BATCHES = 16  # each choice looks at all connections, so up to 1/BATCHES of them are closed at once
AT_ONCE = 16  # connections that are closed when databases and files have taken half of the reserve
_NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})  # as in asyncio.selector_events


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard limit, as any process may (getrlimit(2))."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # a sandbox may forbid it: the soft limit then remains
        return


def limit() -> int:
    """Return how many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def most_connections(most: int) -> int:
    """Return how many connections may be open in a process with up to `most` descriptors; the rest is the reserve."""
    return min(most - min(most // 2, LARGEST_RESERVE), MOST_CONNECTIONS)


class Connections(Protocol):
    """The part of `connections.Register` that is used here."""

    def __len__(self) -> int:
        """Return how many connections are open."""

    def make_room(self, count: int, needed: int = 0) -> bool:
        """Close up to `count` connections, at most `needed` that are busy; tell whether any was closed."""


def watch_reserve(connections: Connections) -> None:
    """Close idle connections when databases and files have taken half of the reserve.

    The kernel assigns the lowest free descriptor number. So the number of a new descriptor tells how many are in use,
    without counting them.
    """
    most = limit()
    try:
        lowest_free = os.dup(2)
    except OSError:
        lowest_free = most
    else:
        os.close(lowest_free)
    if lowest_free >= most - min(most // 2, LARGEST_RESERVE) // 2:
        connections.make_room(AT_ONCE)


class Listener(socket.socket):
    """A listening socket that closes idle connections in favour of new ones once descriptors run short.

    `evenly` says that several processes share the socket. asyncio makes the process that wakes first accept all waiting
    connections (asyncio.selector_events `_accept_connection`). That process would serve all connections of a client for
    as long as they last. With `evenly`, this class tells asyncio after each connection that no other connection waits.
    asyncio then comes back in the next iteration of its loop, and an idle process can accept the next connection first.

    If there is no room, `accept` fails as if descriptors had run out. asyncio logs this and tries again after a second.
    """

    def __init__(self, *, fileno: int, connections: Connections, evenly: bool = False) -> None:
        super().__init__(fileno=fileno)
        self._connections = connections
        self._evenly = evenly
        self._rests = False
        self._most = most_connections(limit())

    def accept(self) -> tuple[socket.socket, Any]:
        """Return one connection.

        Raises:
            BlockingIOError: the event loop must accept in its next iteration.
            OSError: there is no room, or the socket cannot accept.
        """
        if self._rests:
            self._rests = False
            raise BlockingIOError
        excess = len(self._connections) + 1 - self._most
        if excess > 0 and not self._make_room(excess):
            raise OSError(errno.EMFILE, "all connections serve somebody")
        try:
            connection, address = super().accept()
        except OSError as error:
            if error.errno not in _NONE_LEFT:
                raise
            if self._connections.make_room(1, 1):
                raise BlockingIOError from None  # the descriptor of the closed connection is free in the next iteration
            self._rests = True  # asyncio calls `accept` up to `backlog` times in a row, and would log each failure
            raise
        # the event loop needs one iteration to close connections and to count new ones
        self._rests = self._evenly or excess > 0 or connection.fileno() >= self._most
        return connection, address

    def _make_room(self, excess: int) -> bool:
        """Close connections for a waiting one; tell whether there is room now."""
        waiting = select.poll()
        waiting.register(self.fileno(), select.POLLIN)
        if not waiting.poll(0):  # another process has accepted the connection
            raise BlockingIOError
        self._connections.make_room(excess + self._most // BATCHES, excess)
        self._rests = len(self._connections) >= self._most
        return not self._rests
