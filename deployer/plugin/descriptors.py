"""Keeps file descriptors free for those who are served; knows nothing of deployer.

Connections must not take the descriptors that databases and files need: a part of them is a reserve. Where the rest is
taken, a new connection has others closed (connections.py), or it waits until there is room.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
from typing import Any, Protocol

LARGEST_RESERVE = 1024  # for databases, artifacts and logs; half of all where there are few
# of one process: the hard limit may be a million. Measured with 3900 strangers who send all that is held before a login
# is accepted (http_protocol.py): 330 MiB, 85 KiB each
MOST_CONNECTIONS = 4096
BATCHES = 16  # a part of all connections that is closed at once: to choose them takes a look at each
AT_ONCE = 16  # connections that are closed where databases and files have taken half of the reserve
_NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})  # as asyncio's selector_events


def raise_limit() -> None:
    """Raise the soft limit of open files to the hard one; every process may (getrlimit(2))."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # a sandbox may forbid it: the soft limit goes on to hold
        return


def limit() -> int:
    """Return how many descriptors this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def most_connections(most: int) -> int:
    """Return how many connections may be open where a process may have `most` descriptors; the rest is a reserve."""
    return min(most - min(most // 2, LARGEST_RESERVE), MOST_CONNECTIONS)


class Connections(Protocol):
    """`connections.Register`."""

    def __len__(self) -> int:
        """Return how many are open."""

    def make_room(self, count: int, needed: int = 0) -> bool:
        """Close up to `count`, at most `needed` of them if they serve a client; tell whether there was one."""


def watch_reserve(connections: Connections) -> None:
    """Close idle connections where databases and files have taken half of the reserve.

    The kernel gives out the lowest free number: that of a new descriptor tells how many are in use, without counting.
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
    """A listening socket that closes idle connections for new ones once descriptors run short.

    `evenly`: several processes share the socket. asyncio makes the process that wakes first accept all connections that
    wait (asyncio.selector_events `_accept_connection`), so that process would serve all connections of a client, as
    long as they last. Here asyncio is told after each connection that no other waits, and comes back in the next turn
    of its loop: another process that has nothing to do is faster.

    With no room, `accept` fails as if descriptors had run out: asyncio then logs that, and comes back after a second.
    """

    def __init__(self, *, fileno: int, connections: Connections, evenly: bool = False) -> None:
        super().__init__(fileno=fileno)
        self._connections = connections
        self._evenly = evenly
        self._rests = False
        self._most = most_connections(limit())

    def accept(self) -> tuple[socket.socket, Any]:
        """Return one connection; raises BlockingIOError where the next turn of the event loop is to accept."""
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
                raise BlockingIOError from None  # its descriptor is free in the next turn
            self._rests = True  # asyncio calls as often as its backlog is long, and would log each failure
            raise
        # the event loop must turn for connections to be closed, and for new ones to be counted
        self._rests = self._evenly or excess > 0 or connection.fileno() >= self._most
        return connection, address

    def _make_room(self, excess: int) -> bool:
        """Close connections for one that waits; tell whether there is room now."""
        waiting = select.poll()
        waiting.register(self.fileno(), select.POLLIN)
        if not waiting.poll(0):  # another process was faster
            raise BlockingIOError
        self._connections.make_room(excess + self._most // BATCHES, excess)
        self._rests = len(self._connections) >= self._most
        return not self._rests
