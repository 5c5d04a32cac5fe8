"""Gives each experiment in SQLite a number that no earlier experiment has had; does not import deployer.

SQLite gives the number of the newest removed row to the next row (https://www.sqlite.org/autoinc.html). `mlflow gc`
removes the row of an experiment, but not all that refers to its number: links to evaluation datasets
(`entity_associations`), permissions of roles, and files below the artifact root. The creator of the next experiment
would receive all of them. Sequences of PostgreSQL never return a number twice, so this module leaves PostgreSQL alone.

The largest number so far is stored in `user_version`, a field of the database's header that SQLite reserves for
applications (https://www.sqlite.org/pragma.html#pragma_user_version). MLflow and Alembic do not use this field. A write
to the field belongs to a transaction, changes no table, and survives `VACUUM`, `mlflow db upgrade` and copies of the
file. A dump as SQL text does not contain the field.

The field has 32 bits. It cannot store the larger numbers of experiments that come from `mlflow migrate-filestore`. This
module never assigns such large numbers, so it need not remember them.

A mapper event assigns the number, because MLflow 3.17 and 3.18 insert experiments only through their mapped class. The
only other statement inserts experiment 0 (mlflow/store/tracking/sqlalchemy_store.py `_create_default_experiment`).

The first start with this module also looks for the numbers of experiments that were removed earlier. It searches links
to datasets and files on this machine. It does not search permissions of roles or files in S3.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

LARGEST = 2**31 - 1  # `user_version` is a signed integer of 32 bits
SQLITE = "sqlite"
# The statement changes no row, but makes SQLite lock the database for this transaction. Otherwise, two processes could
# read the same number before one of them writes.
LOCK = "UPDATE experiments SET name = name WHERE 0"
NEWEST = "SELECT coalesce(max(experiment_id), 0) FROM experiments WHERE experiment_id <= :largest"
LINKED = "SELECT DISTINCT destination_id FROM entity_associations WHERE destination_type = 'experiment'"
FAR = 100_000  # the search ignores numbers that exceed the newest experiment by more than this


def install() -> None:
    """Assign numbers, and remember the numbers of existing experiments; call this once MLflow has its stores."""
    from mlflow.server import handlers
    from mlflow.store.tracking.dbmodels.models import SqlExperiment
    from sqlalchemy import event

    engine = handlers._get_tracking_store().engine
    if engine.dialect.name != SQLITE:
        return
    with engine.begin() as connection:
        number = _largest(connection) if _stored(connection) else _first(connection)
        if number > _stored(connection):  # most starts write nothing
            _lock(connection)
            _store(connection, max(number, _stored(connection)))
    event.listen(SqlExperiment, "before_insert", _number)


def _first(connection: Any) -> int:
    """Return the first value of `user_version`: the largest number found among experiments, links and folders."""
    largest = _largest(connection)
    names = [*connection.exec_driver_sql(LINKED).scalars(), *_folders(os.environ["MLFLOW_ARTIFACTS_DESTINATION"])]
    numbers = [int(name) for name in names if name.isascii() and name.isdigit()]
    return max([largest, *(number for number in numbers if number <= min(largest + FAR, LARGEST))])


def _folders(artifacts: str) -> list[str]:
    """Return the names below the artifact root if the root is a folder on this machine."""
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    root = Path(local_file_uri_to_path(artifacts)) if is_local_uri(artifacts) else None
    is_readable = root is not None and root.is_dir() and os.access(root, os.R_OK | os.X_OK)
    return [path.name for path in root.iterdir()] if root is not None and is_readable else []


def _number(_mapper: Any, connection: Any, experiment: Any) -> None:
    """Give a new experiment its number, unless the program that stores the experiment has chosen one."""
    if experiment.experiment_id is not None or connection.dialect.name != SQLITE:
        return
    _lock(connection)
    number = max(_largest(connection), _stored(connection)) + 1
    if number > LARGEST:
        raise OverflowError(f"experiments cannot have numbers above {LARGEST}")
    _store(connection, number)
    experiment.experiment_id = number


def _lock(connection: Any) -> None:
    connection.exec_driver_sql(LOCK)


def _largest(connection: Any) -> int:
    import sqlalchemy

    return int(connection.execute(sqlalchemy.text(NEWEST), {"largest": LARGEST}).scalar_one())


def _stored(connection: Any) -> int:
    return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def _store(connection: Any, number: int) -> None:
    connection.exec_driver_sql(f"PRAGMA user_version = {number:d}")  # a PRAGMA takes no parameters
