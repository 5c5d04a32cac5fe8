"""Bounds the threads of one process, and with them its connections to databases; knows nothing of deployer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

# for artifacts on their way, each with one connection at most, and only for a moment
ARTIFACT_THREADS = 32  # of Python's own choice, on a small machine, the seventh would wait


def bound(app: FastAPI, count: int, *, reaps: bool) -> None:
    """Let `count` threads serve requests once it starts, each of which may hold connections to the database.

    Traces are written by them too: those for artifacts, by whom MLflow has it done, may be more than connections.

    `reaps`: whether what MLflow itself does at the start is done too (mlflow/server/fastapi_app.py `_lifespan`). In
    3.17 and 3.18 all of that is for the assistant and for jobs, whose routes are closed: it deletes folders of old
    sessions below the temporary folder, through a link that stands there, and has a program named `docker` remove
    containers.
    """
    import anyio.to_thread
    from mlflow.store.tracking.abstract_store import AbstractStore

    usual = app.router.lifespan_context if reaps else _nothing

    @asynccontextmanager
    async def bounded(served: Any) -> AsyncIterator[Any]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = count
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(ARTIFACT_THREADS, "artifacts"))
        async with usual(served) as state:
            yield state

    async def log_spans_async(self: Any, location: str, spans: list[Any]) -> Any:
        return await anyio.to_thread.run_sync(self.log_spans, location, spans)

    app.router.lifespan_context = bounded
    AbstractStore.log_spans_async = log_spans_async


@asynccontextmanager
async def _nothing(_served: object) -> AsyncIterator[None]:
    yield
