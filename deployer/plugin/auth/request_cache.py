"""Caches what one request reads about its user and permissions, until it changes something; does not import deployer.

The cached functions are in mlflow/server/auth:

- `SqlAlchemyStore.get_user` and `.list_grants`, which MLflow calls up to five times a request. One call is enough,
  until one of the store's own methods changes something.
- `_fetch_or_none`, which reads a run with seven statements to learn which experiment's permissions apply to the run.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import cache, partial, wraps
from types import SimpleNamespace
from typing import Any

from .. import seams

# the grants of a user; if the source code of this function differs, so may its SQL statement
GRANTS = "mlflow.server.auth.sqlalchemy_store:SqlAlchemyStore.list_grants"
# prefixes of MLflow's own methods that change something
CHANGES = (
    "create_", "update_", "delete_", "grant_", "revoke_", "rename_", "set_", "add_", "remove_", "assign_", "unassign_"
)  # fmt: skip
EXPERIMENTS_REMEMBERED = 50_000  # runs whose experiment is remembered; runs never move; about 10 MiB


class Memory:
    """What is known about the login of a request. No other login may be accepted for this request.

    A request may be served long after its login was checked. So the first result is provisional. When a thread serves
    the request, it looks the login up again. That result is `confirmed`, and is used until the end of the request. If
    the login were looked up again after that, a password change during the request could cause an error after the work
    was done.
    """

    def __init__(self, username: str, login: bytes, accepted: bool, user: Any | None) -> None:
        self.username = username
        self.login = login
        self.accepted = accepted
        self.confirmed = False
        self.user = user
        self.grants: dict[tuple[object, ...], list[Any]] = {}

    def confirm(self, accepted: bool, user: Any | None) -> None:
        """Record the result that holds for the rest of the request."""
        self.forget()
        self.accepted, self.user, self.confirmed = accepted, user, True

    def user_once(self, read: Callable[[], Any]) -> Any:
        """Return the cached user, or read the user. Before `confirm`, a cached user serves only one call."""
        found = read() if self.user is None else self.user
        self.user = found if self.confirmed else None
        return found

    def grants_once(self, asked: tuple[object, ...], read: Callable[[], list[Any]]) -> list[Any]:
        """Return the grants, and read them if they are unknown."""
        if asked not in self.grants:
            self.grants[asked] = read()
        return list(self.grants[asked])

    def forget(self) -> None:
        """Discard the user and the grants, so that they are read again."""
        self.user = None
        self.grants.clear()


current: ContextVar[Memory | None] = ContextVar("deployer_request", default=None)


def install() -> None:
    """Replace MLflow's functions with cached ones."""
    from mlflow.server import auth
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore.get_user = _user_of_the_request(SqlAlchemyStore.get_user)
    SqlAlchemyStore.list_grants = _grants_of_the_request(
        SqlAlchemyStore.list_grants, auth.store, known=seams.fits(GRANTS)
    )
    for name, method in list(vars(SqlAlchemyStore).items()):
        if name.startswith(CHANGES):
            setattr(SqlAlchemyStore, name, _forgets(method))
    auth._fetch_or_none = _fetch_or_none(auth._fetch_or_none)


def _user_of_the_request(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def get_user(self: Any, username: str) -> Any:
        memory = current.get()
        if memory is None or username != memory.username or not memory.accepted:
            return original(self, username)
        return memory.user_once(lambda: original(self, username))

    return get_user


def _grants_of_the_request(original: Callable[..., list[Any]], store: Any, *, known: bool) -> Callable[..., list[Any]]:
    """Read the grants once; `known` says that this MLflow's `list_grants` is known to run the SQL statement below."""
    question = cache(partial(_question_of_grants, store))  # built once a database exists
    served = set[frozenset[str]]()  # the types that MLflow's function has accepted

    @wraps(original)
    def list_grants(self: Any, user_id: int, workspace: str, resource_types: Any) -> list[Any]:
        memory, types = current.get(), frozenset(resource_types)

        def read() -> list[Any]:
            if known and self is store and types in served:
                with suppress(Exception):  # MLflow's own function then reports the error
                    return question()(user_id, workspace, types)
            found = original(self, user_id, workspace, types)
            served.add(types)
            return found

        return read() if memory is None else memory.grants_once((user_id, workspace, types), read)

    return list_grants


def _question_of_grants(store: Any) -> Callable[[int, str, frozenset[str]], list[Any]]:
    """Return a function that reads what `list_grants` reads, with a statement built once and no transaction."""
    import sqlalchemy
    from mlflow.server.auth.db.models import SqlRole, SqlRolePermission, SqlUserRoleAssignment
    from mlflow.server.auth.sqlalchemy_store import RESOURCE_TYPE_WORKSPACE, RoleGrantRow

    grant = SqlRolePermission
    query = (
        sqlalchemy.select(grant.resource_type, grant.resource_pattern, grant.permission)
        .join(SqlRole, SqlRole.id == grant.role_id)
        .join(SqlUserRoleAssignment, SqlUserRoleAssignment.role_id == SqlRole.id)
        .where(
            SqlUserRoleAssignment.user_id == sqlalchemy.bindparam("user_id"),
            SqlRole.workspace == sqlalchemy.bindparam("workspace"),
            grant.resource_type.in_(sqlalchemy.bindparam("types", expanding=True)),
        )
    )
    engine = store.engine.execution_options(isolation_level="AUTOCOMMIT")

    def ask(user_id: int, workspace: str, types: frozenset[str]) -> list[Any]:
        told = {"user_id": user_id, "workspace": workspace, "types": [*types, RESOURCE_TYPE_WORKSPACE]}
        with engine.connect() as connection:
            return [RoleGrantRow(*row) for row in connection.execute(query, told)]

    return ask


def _forgets(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def changing(*arguments: Any, **options: Any) -> Any:
        try:
            return original(*arguments, **options)
        finally:
            if memory := current.get():
                memory.forget()

    return changing


def _fetch_or_none(original: Callable[..., Any]) -> Callable[..., Any]:
    """Read only the experiment of a run, because the permission checks need nothing else."""
    import sqlalchemy
    from mlflow.store.tracking.dbmodels.models import SqlRun
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

    remembered: OrderedDict[tuple[int, str], Any] = OrderedDict()

    @wraps(original)
    def fetch_or_none(fetch: Callable[[str], Any], resource_id: str) -> Any | None:
        store: Any = getattr(fetch, "__self__", None)
        if fetch.__name__ != "get_run" or type(store) is not TrackingStore:
            return original(fetch, resource_id)
        if (run := remembered.get((id(store), resource_id))) is not None:
            return run
        query = sqlalchemy.select(SqlRun.experiment_id).where(SqlRun.run_uuid == resource_id)
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            experiment = connection.execute(query).scalar_one_or_none()
        if experiment is None:
            return original(fetch, resource_id)  # raises MLflow's error
        run = SimpleNamespace(info=SimpleNamespace(experiment_id=str(experiment)))
        remembered[(id(store), resource_id)] = run
        while len(remembered) > EXPERIMENTS_REMEMBERED:
            remembered.popitem(last=False)
        return run

    return fetch_or_none
