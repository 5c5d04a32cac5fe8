"""Adds a health check that reads the server's databases; does not import deployer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI


def add_stores_health(app: FastAPI) -> None:
    """Add `/health/stores` without a login: 200 if a row of each store can be read, else 503 with the failing store.

    MLflow's `/health` already succeeds before the databases respond. The path begins with `/health`, which basic auth
    exempts from logins (mlflow/server/auth/__init__.py `_UNPROTECTED_PATH_PREFIXES`). The check of the Host header
    still applies.
    """
    import anyio
    import sqlalchemy
    from mlflow.server import auth, handlers
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    limiter = anyio.CapacityLimiter(2)  # anonymous clients must not fill the thread pool that serves all requests
    queries = {
        "tracking": (handlers._get_tracking_store, "SELECT experiment_id FROM experiments LIMIT 1"),
        "auth": (lambda: auth.store, "SELECT id FROM users LIMIT 1"),
    }

    def read_stores() -> dict[str, str]:
        answers = {}
        for name, (store, query) in queries.items():
            try:
                with store().engine.connect() as connection:
                    connection.execute(sqlalchemy.text(query)).first()
                answers[name] = "ok"
            except Exception as error:  # noqa: BLE001  # any error of a driver means: not readable
                logging.getLogger("deployer").warning("%s store not readable: %s", name, type(error).__name__)
                answers[name] = "unavailable"
        return answers

    async def stores_health(_request: object) -> JSONResponse:
        answers = await anyio.to_thread.run_sync(read_stores, limiter=limiter)
        return JSONResponse(answers, status_code=200 if set(answers.values()) == {"ok"} else 503)

    # before the mount of Flask, which matches all paths
    app.router.routes.insert(0, Route("/health/stores", stores_health, methods=["GET"]))
