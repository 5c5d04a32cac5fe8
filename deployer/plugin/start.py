"""Starts the server: the order of all steps from the environment to a process that serves."""

from __future__ import annotations

import gc
import socket
import sys
from typing import TYPE_CHECKING

from . import mlflow_environment
from .application import create_app, prepare_databases
from .auth.mlflow_cache import choose_who_remembers
from .gateway import self_calls
from .listener import listening_socket
from .serving import descriptors, uvicorn_server, workers
from .settings import EX_CONFIG, Refusal, number, require
from .storage import databases

if TYPE_CHECKING:
    from fastapi import FastAPI


def main() -> None:
    """Run the server until a signal ends it."""
    try:
        require()
        count = number("MLFLOW_WORKERS", 1)
        mlflow_environment.ask_the_processor()
        mlflow_environment.pass_over_known_warnings()
        mlflow_environment.choose_temporary_folder()
        descriptors.raise_limit()
        listener = listening_socket()  # early: a taken port must be reported now, not after seconds of imports
        mlflow_environment.configure_mlflow()
        self_calls.announce(listener)
        choose_who_remembers(count)
        app = prepared_app()
    except Refusal as refusal:
        sys.stderr.write(f"deployer: refused to start: {refusal}\n")
        raise SystemExit(EX_CONFIG) from None
    if count > 1:
        release_connections()
    gc.freeze()  # imported objects stay: later collections neither scan them nor write to memory that workers share
    gc.enable()
    serve(app, listener, count)


def prepared_app() -> FastAPI:
    """Prepare the databases and return MLflow's application; until then, other servers on these databases wait."""
    try:
        with databases.alone():
            prepare_databases()
            return create_app()
    except databases.Unusable as error:
        raise Refusal(str(error)) from error


def release_connections() -> None:
    """Close every database connection: a forked process must not use a connection of its parent."""
    import sqlalchemy

    for engine in [found for found in gc.get_objects() if isinstance(found, sqlalchemy.engine.Engine)]:
        engine.dispose()


def serve(app: FastAPI, listener: socket.socket, count: int = 1) -> None:
    """Serve `app` on `listener` until SIGTERM or SIGINT, in this process or in `count` forked ones."""
    if count == 1:
        uvicorn_server.run(app, listener)
    else:
        workers.run(count, lambda: uvicorn_server.run(app, listener, evenly=True))
