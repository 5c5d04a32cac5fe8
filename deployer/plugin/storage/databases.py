"""Locates and prepares the server's two databases; a database must have the schema of this MLflow.

An empty database gets its schema. A database that holds data is never changed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..auth.config_file import lay_over

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

AUTH_DATABASE = "DEPLOYER_AUTH_DATABASE_URI"
# an arbitrary number, the same in every release; any program that uses it for an advisory lock waits for us
_ADVISORY_LOCK = 0x6D6C666C6F77  # "mlflow"


class Unusable(Exception):
    """A database that the server must not run on; the message tells a person what to do."""


@dataclass(frozen=True)
class Schema:
    """One of MLflow's schemas: how to create it, its newest revision, and the table that stores the current revision.

    `table` has a row as soon as there is data. `upgrade` is the command that migrates data to the newest revision.
    """

    name: str
    create: Callable[[Engine], None]
    head: str | None
    version_table: str
    table: str
    upgrade: str


def point_to_auth_database() -> None:
    """Make MLflow use AUTH_DATABASE, if set, instead of the address in the configuration file of basic auth."""
    if (uri := os.environ.pop(AUTH_DATABASE, None)) is not None:
        lay_over(database_uri=uri)


@contextmanager
def alone() -> Iterator[None]:
    """Lock the tracking database if it is PostgreSQL, because the first starts of several servers must not overlap.

    The lock belongs to a transaction, not to a session. So it works behind a connection pool,
    and it ends with the transaction.

    Raises:
        Unusable: the tracking database cannot be reached.
    """
    import sqlalchemy

    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    if not uri.startswith("postgresql"):
        yield
        return
    try:
        connection = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool).connect()
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise Unusable(f"the tracking database cannot be read: {_reason(error)}") from error
    try:
        yield
    finally:
        with suppress(sqlalchemy.exc.SQLAlchemyError):  # the database's operator may have closed the connection
            connection.close()


def prepare() -> None:
    """Create both schemas where the database is empty.

    Raises:
        Unusable: a database cannot be read or written, or holds another schema version.
    """
    from mlflow.server.auth.config import read_auth_config
    from mlflow.server.auth.db import utils as auth_db
    from mlflow.store.db import utils as tracking_db

    tracking_uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    auth_uri = read_auth_config().database_uri
    # The tracking schema comes first. If both schemas share a database, the first tracking migration would take
    # existing auth tables for its own.
    _prepare(
        tracking_uri,
        Schema(
            "tracking",
            create=tracking_db._initialize_tables,
            head=tracking_db._get_latest_schema_revision(),
            version_table="alembic_version",
            table="experiments",
            upgrade=_upgrade(tracking_uri, "-m mlflow", "mlflow.db", "db", "upgrade"),
        ),
    )
    _prepare(
        auth_uri,
        Schema(
            "auth",
            create=lambda engine: auth_db.migrate(engine, "head"),
            head=_auth_head(auth_uri),
            version_table="alembic_version_auth",
            table="users",
            upgrade=_upgrade(auth_uri, "-m mlflow.server.auth", "mlflow.server.auth.db.cli", "db", "upgrade", "--url"),
        ),
    )


def _auth_head(uri: str) -> str | None:
    from alembic.script import ScriptDirectory
    from mlflow.server.auth.db import utils as auth_db

    head: str | None = ScriptDirectory.from_config(auth_db._get_alembic_config(uri)).get_current_head()
    return head


def _upgrade(uri: str, program: str, module: str, *words: str) -> str:
    """Return the command that upgrades a database; a URL with a password goes into a variable, not into an argument."""
    import shlex

    if uri.startswith("sqlite:"):
        return f"run: {sys.executable} {program} {' '.join(words)} {shlex.quote(uri)}"
    call = ", ".join((*(f'"{word}"' for word in words[1:]), 'os.environ["URL"]'))
    code = f"import os; from {module} import commands; commands([{call}])"
    return f"put its URL into a variable (`read -rs URL; export URL`) and run: {sys.executable} -c {shlex.quote(code)}"


def _prepare(uri: str, schema: Schema) -> None:
    import sqlalchemy

    path = _sqlite_path(uri)
    if path is not None and (not path.exists() or path.stat().st_size == 0):
        _create_sqlite(path, schema.create)
        return
    done = "read"
    try:
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
        if _is_empty(engine, schema):
            done = "given its tables"
            schema.create(engine)
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise Unusable(f"the {schema.name} database cannot be {done}: {_reason(error)}") from error


def _is_empty(engine: Engine, schema: Schema) -> bool:
    """Tell whether a database holds no data; an interrupted start may leave tables without rows.

    Raises:
        Unusable: the database holds data of another schema version.
    """
    import sqlalchemy
    from alembic.migration import MigrationContext

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.version_table})
        current: str | None = context.get_current_revision()
        tables = sqlalchemy.inspect(connection).get_table_names()
        if current is None:
            if schema.table not in tables:
                return True
            row = sqlalchemy.select(sqlalchemy.literal(1)).select_from(sqlalchemy.table(schema.table)).limit(1)
            if connection.execute(row).first() is None:
                return True
    if current != schema.head:
        raise Unusable(
            f"the {schema.name} database has schema {current or 'of an unknown version'}, this MLflow needs "
            f"{schema.head}. Nothing was changed. Back the database up, then {schema.upgrade}"
        )
    return False


def _reason(error: Exception) -> str:
    """Return the driver's message on one line; SQLAlchemy's own message may quote a statement."""
    said = error if isinstance(error, ImportError) else getattr(error, "orig", None) or type(error).__name__
    return " ".join(str(said).split())


def _sqlite_path(uri: str) -> Path | None:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
    except ArgumentError as error:
        raise Unusable("the address of a database is no URL") from error
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def _create_sqlite(path: Path, create: Callable[[Engine], None]) -> None:
    """Create the schema in a temporary file beside the final one, then rename the file.

    Otherwise, a kill during MLflow's sixty-odd migrations would leave a half-migrated database, which the next start
    must refuse. After a crash the temporary file is discarded, so it needs no fsync until it is complete.
    """
    import sqlalchemy

    draft = path.with_name(f"{path.name}.initial")
    draft.unlink(missing_ok=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        engine = sqlalchemy.create_engine(f"sqlite:///{draft}")

        def unsynchronised(connection: Any, _record: object) -> None:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = MEMORY")

        sqlalchemy.event.listen(engine, "connect", unsynchronised)
        create(engine)
        engine.dispose()
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.replace(path)
    except (OSError, sqlalchemy.exc.SQLAlchemyError) as error:
        reason = getattr(error, "orig", None) or error
        raise Unusable(f"the database {path} cannot be created: {reason}") from error
