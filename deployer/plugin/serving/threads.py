"""Bounds the threads of one process, and so its database connections; does not import deployer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

# for artifact transfers; each thread has at most one connection, and only for a moment
ARTIFACT_THREADS = 32  # with Python's default, the seventh transfer would wait on a small machine


def bound(app: FastAPI, count: int, *, reaps: bool) -> None:
    """Let `count` threads serve requests; each of them may hold database connections.

    These threads also write traces. MLflow would write traces in the threads for artifacts, which may outnumber the
    connections.

    If `reaps` is false, the server skips MLflow's own clean-up at its start (mlflow/server/fastapi_app.py `_lifespan`).
    This is the case for supported versions. There, the clean-up serves only the assistant and jobs, and the routes of
    both are closed. The clean-up would also be dangerous. It deletes the folders of old sessions in the temporary
    folder, even through a link that somebody has put there. It also runs a program named `docker` to remove containers.
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
