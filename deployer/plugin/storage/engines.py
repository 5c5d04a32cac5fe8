"""Limits the database connections that one process opens, and skips useless tests of them; does not import deployer.

MLflow creates one engine each for runs, models, jobs and logins. Each engine has its own pool, all of the same size.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

SIZE, OVERFLOW = "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE", "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW"


def share() -> None:
    """Let the stores of runs, models and jobs share one engine for each database.

    A store class caches its engines by URL in `_engine_map`. This function makes the classes use one map. A class
    without `_engine_map` keeps separate engines.
    """
    from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

    names = ("_engine_map", "_engine_map_lock")
    for store in (RegistryStore, SqlAlchemyJobStore):
        if all(hasattr(owner, name) for owner in (TrackingStore, store) for name in names):
            for name in names:
                setattr(store, name, getattr(TrackingStore, name))


def lock_no_file() -> None:
    """Prevent stores from locking a file in the temporary folder.

    Before a store looks for its tables, it locks a file with a known name. Another user of that folder could hold the
    lock, and every thread would wait. No store needs the lock, because databases.py has created the tables of all
    stores. Two modules refer to MLflow's function for this lock: its own module and the one of the job store. Both
    references are replaced.
    """
    from mlflow.store.db import utils
    from mlflow.store.jobs import sqlalchemy_store as jobs

    for module in (utils, jobs):
        if hasattr(module, "_safe_initialize_tables"):
            module._safe_initialize_tables = lambda _engine: None


def skip_pings() -> None:
    """Let engines of SQLite use a pooled connection without a test; call this before MLflow creates engines.

    MLflow tests each connection with `SELECT 1`, because a database server may have closed the connection. SQLite
    answers this statement without the file, so the test finds nothing. It costs a tenth of a request's statements.
    """
    from mlflow.store.db import utils

    usual = utils.create_sqlalchemy_engine

    @wraps(usual)
    def create_sqlalchemy_engine(db_uri: str) -> Any:
        engine = usual(db_uri)
        if engine.dialect.name == "sqlite":
            engine.pool._pre_ping = False
        return engine

    utils.create_sqlalchemy_engine = create_sqlalchemy_engine


@contextmanager
def of_logins(count: int | None) -> Iterator[None]:
    """Limit the engine that is created in this block to `count` connections, but at least two.

    With None, the engine gets as many as other engines.
    """
    usual = {name: os.environ.get(name) for name in (SIZE, OVERFLOW)}
    if count:
        overflow = max(1, count // 2)  # for 0, MLflow takes ten
        os.environ |= {SIZE: str(max(1, count - overflow)), OVERFLOW: str(overflow)}
    try:
        yield
    finally:
        for name, value in usual.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
