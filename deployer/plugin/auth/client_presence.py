"""Detects that a client disconnects while its request waits; does not import deployer.

The ASGI message `http.disconnect` reports the disconnect, but it comes only after the body. A body that is read here
must be kept for the application, so only small bodies are read. If the body is large, has an unknown length, or waits
for "100 Continue", the connection itself reports the disconnect (http_protocol.py).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

MOST_READ = 1 << 14  # bytes of a body that may be read and kept
LEFT = "deployer.left"  # key in a scope's state: a future that is done once the connection is lost (http_protocol.py)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class ClientLeft(Exception):
    """The client closed its connection before the response."""


class Client:
    """The client of one request. Its `receive` first returns the messages that this object has already read."""

    __slots__ = ("_read", "_receive", "_scope", "receive")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self._read: deque[Message] | None = None
        self.receive = receive  # the server's own, until a message is read here

    async def wait_for(self, work: asyncio.Future[Any]) -> None:
        """Wait until `work` is done, whether it succeeds or fails.

        Raises:
            ClientLeft: the client disconnected; the work goes on.
            Exception: an error that `receive` raised before the work was done.
        """
        if not is_watchable(self._scope):
            await self._wait_without_receiving(work)
            return
        leaving = asyncio.ensure_future(self._until_left())
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                leaving.result()
                raise ClientLeft
        finally:
            leaving.cancel()
            await asyncio.wait({leaving})  # two tasks must not call `receive` at once
            if not leaving.cancelled():
                leaving.exception()  # asyncio would log an exception that nobody retrieved

    async def _wait_without_receiving(self, work: asyncio.Future[Any]) -> None:
        left = self._scope.get("state", {}).get(LEFT)
        await asyncio.wait({work, left} if left else {work}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientLeft

    async def _until_left(self) -> None:
        while (message := await self._receive())["type"] != "http.disconnect":
            if self._read is None:
                self._read = deque()
                self.receive = self._read_first
            self._read.append(message)

    async def _read_first(self) -> Message:
        return self._read.popleft() if self._read else await self._receive()


def is_watchable(scope: Scope) -> bool:
    """Tell whether the whole body of a request may be read before the request is served.

    If a client waits for "100 Continue" before it sends its body, reading would request the body (RFC 9110, 10.1.1).
    """
    length = b"0"
    for name, value in scope["headers"]:
        if name in {b"expect", b"transfer-encoding"}:
            return False
        if name == b"content-length":
            length = value
    return length.isdigit() and int(length[:9]) <= MOST_READ and len(length) <= 9
