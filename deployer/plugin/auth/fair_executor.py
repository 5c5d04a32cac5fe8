"""Runs functions in threads, in the order of fair queues; belongs to the event loop that first uses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from .fair_queue import FairQueue, Full

R = TypeVar("R")
IN_A_ROW = 4  # jobs of the first queue before one job of the second, if both have jobs


class Job:
    """A function that waits for a thread. It returns its result and the seconds for which its thread then pauses."""

    __slots__ = ("done", "function", "is_second")

    def __init__(
        self, function: Callable[[], tuple[Any, float]], done: asyncio.Future[Any], *, is_second: bool
    ) -> None:
        self.function = function
        self.done = done
        self.is_second = is_second


class FairExecutor:
    """Runs jobs of two queues, at most `at_once` at once; `first` is preferred, but `second` does not starve.

    If there are several threads, one of them never runs jobs of `second`. So no job of `first` waits for a job of
    `second`, or for the pause of a thread after such a job.
    """

    def __init__(
        self, threads: ThreadPoolExecutor, at_once: int, first: FairQueue[Job], second: FairQueue[Job] | None = None
    ) -> None:
        self._threads = threads
        self._idle = at_once
        self._idle_for_second = max(1, at_once - 1)
        self._first = first
        self._second: FairQueue[Job] = FairQueue(0, 0) if second is None else second
        self._in_a_row = 0

    async def run(
        self, function: Callable[[], tuple[R, float]], address: str, name: str = "", *, second: bool = False
    ) -> R:
        """Run a function in a thread and return its result; a job that is cancelled before it begins never runs.

        Raises:
            Full: the queue has no room for this job.
        """
        queue = self._second if second else self._first
        job = Job(function, asyncio.get_running_loop().create_future(), is_second=second)
        removed = queue.push(address, name, job)
        if removed is not None and not removed.done.done():
            removed.done.set_exception(Full())
        try:
            self._start()
            result: R = await job.done
        finally:
            queue.discard(address, name, job)
        return result

    def _start(self) -> None:
        while self._idle and (job := self._next()):
            self._idle -= 1
            self._idle_for_second -= job.is_second
            try:
                running = asyncio.get_running_loop().run_in_executor(self._threads, job.function)
            except Exception as error:  # noqa: BLE001  # no thread can be started: the job fails, its slot becomes free
                if not job.done.done():
                    job.done.set_exception(error)
                self._idle += 1
                self._idle_for_second += job.is_second
            else:
                running.add_done_callback(partial(self._finish, job))

    def _next(self) -> Job | None:
        if self._second and self._idle_for_second and (not self._first or self._in_a_row >= IN_A_ROW):
            self._in_a_row = 0
            return self._second.pop()
        if self._first:
            self._in_a_row += 1
            return self._first.pop()
        return None

    def _finish(self, job: Job, running: asyncio.Future[tuple[Any, float]]) -> None:
        rest = 0.0
        error = asyncio.CancelledError() if running.cancelled() else running.exception()
        if error is None:
            result, rest = running.result()
            if not job.done.done():
                job.done.set_result(result)
        elif not job.done.done():
            job.done.set_exception(error)
        if rest > 0:
            asyncio.get_running_loop().call_later(rest, self._rested, job)
        else:
            self._rested(job)

    def _rested(self, job: Job) -> None:
        self._idle += 1
        self._idle_for_second += job.is_second
        self._start()
