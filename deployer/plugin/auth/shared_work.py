"""Coalesces requests that wait for the same work, and cancels work that no request waits for any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, Protocol, TypeVar

R = TypeVar("R")


class Client(Protocol):
    """The part of `client_presence.Client` that is used here."""

    async def wait_for(self, work: asyncio.Future[Any]) -> None:
        """Wait until the work is done; raise if the client leaves first."""


class _Work(Generic[R]):
    def __init__(self, task: asyncio.Task[R]) -> None:
        self.task = task
        self.waiting = 0  # requests


class SharedWork(Generic[R]):
    """Tasks by key; each task runs as long as a request waits for it."""

    def __init__(self) -> None:
        self._works: dict[Hashable, _Work[R]] = {}

    def __len__(self) -> int:
        return len(self._works)

    async def do(self, key: Hashable, begin: Callable[[], Coroutine[Any, Any, R]], client: Client) -> R:
        """Return the result of the work for this key; `begin` starts the work if no request waits for it yet.

        Raises:
            Exception: an error of the work, or the error of `client.wait_for` if the client leaves first.
        """
        work = self._works.get(key)
        if work is None:
            work = self._works[key] = _Work(asyncio.ensure_future(begin()))
            work.task.add_done_callback(lambda task: self._landed(key, task))
        work.waiting += 1
        try:
            await client.wait_for(work.task)
        finally:
            work.waiting -= 1
            if not work.waiting and not work.task.done():
                del self._works[key]  # no other request may join this work now
                work.task.cancel()
        try:
            return work.task.result()
        finally:
            del work  # an exception's traceback refers to this frame

    def _landed(self, key: Hashable, task: asyncio.Task[R]) -> None:
        if key in self._works and self._works[key].task is task:
            del self._works[key]
        if not task.cancelled():
            task.exception()  # asyncio would log an exception that nobody retrieved
