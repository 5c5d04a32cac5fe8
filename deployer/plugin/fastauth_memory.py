"""What one request reads of its user and permissions, once, until it changes something; knows nothing of deployer.

Seams, in mlflow/server/auth:
- `SqlAlchemyStore.get_user` and `.list_grants`, asked up to five times for a request: once is enough, until one of the
  store's own methods changes something;
- `_fetch_or_none`, by which a run is read, seven statements, to learn which experiment's permissions hold for it.
"""

from __future__ import annotations

import hashlib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from functools import cache, partial, wraps
from types import SimpleNamespace
from typing import Any

SIGNATURES = {  # without annotations, which each Python writes in its own way
    "get_user": "(self, username)",
    "list_grants": "(self, user_id, workspace, resource_types)",
}
# of the text of `list_grants`, SHA-256: with another text, its statement is not known to be the one that is here
GRANTS_TEXT = "7da32bf8506919a05885bd006f76841a6446847392c9846b5d9f529218e80ba5"
OF_AUTH = ("_fetch_or_none", "(fetch, resource_id)")
# what MLflow's own methods that change something begin with
CHANGES = (
    "create_", "update_", "delete_", "grant_", "revoke_", "rename_", "set_", "add_", "remove_", "assign_", "unassign_"
)  # fmt: skip
EXPERIMENTS_REMEMBERED = 50_000  # of runs, which never move; about 10 MiB


class Memory:
    """What one request has found out of the login that it brought, the only one that may be accepted for it.

    Until it is served, which may be long after it has begun to come, what was found out is no more than that: only then
    it is `confirmed`, and holds for the rest of it. A password that changes while it is served would else end it with
    an error after its work was done.
    """

    def __init__(self, username: str, login: bytes, accepted: bool, user: Any | None) -> None:
        self.username = username
        self.login = login
        self.accepted = accepted
        self.confirmed = False
        self.user = user
        self.grants: dict[tuple[object, ...], list[Any]] = {}

    def confirm(self, accepted: bool, user: Any | None) -> None:
        """Keep what holds from now on."""
        self.forget()
        self.accepted, self.user, self.confirmed = accepted, user, True

    def user_once(self, read: Callable[[], Any]) -> Any:
        """Return the user, read if they are not known; what was found out before is good for one answer."""
        found = read() if self.user is None else self.user
        self.user = found if self.confirmed else None
        return found

    def grants_once(self, asked: tuple[object, ...], read: Callable[[], list[Any]]) -> list[Any]:
        """Return what was granted, read if it is not known."""
        if asked not in self.grants:
            self.grants[asked] = read()
        return list(self.grants[asked])

    def forget(self) -> None:
        """Have the user and their permissions read anew."""
        self.user = None
        self.grants.clear()


current: ContextVar[Memory | None] = ContextVar("deployer_request", default=None)


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield the objects whose functions are replaced, and those with the signatures that they must have."""
    from mlflow.server import auth
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    for name, signature in SIGNATURES.items():
        yield SqlAlchemyStore, name, signature
    yield auth, *OF_AUTH


def install() -> None:
    """Put the memory in the place of MLflow's own ways."""
    from mlflow.server import auth
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore.get_user = _user_of_the_request(SqlAlchemyStore.get_user)
    SqlAlchemyStore.list_grants = _grants_of_the_request(SqlAlchemyStore.list_grants, auth.store)
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


def _grants_of_the_request(original: Callable[..., list[Any]], store: Any) -> Callable[..., list[Any]]:
    question = cache(partial(_question_of_grants, store))  # made when there is a database
    # it says which types there are; whether it asks what is asked here, its text
    served, known = set[frozenset[str]](), text_of(original) == GRANTS_TEXT

    @wraps(original)
    def list_grants(self: Any, user_id: int, workspace: str, resource_types: Any) -> list[Any]:
        memory, types = current.get(), frozenset(resource_types)

        def read() -> list[Any]:
            if known and self is store and types in served:
                with suppress(Exception):  # whatever it is, MLflow says it in its own way
                    return question()(user_id, workspace, types)
            found = original(self, user_id, workspace, types)
            served.add(types)
            return found

        return read() if memory is None else memory.grants_once((user_id, workspace, types), read)

    return list_grants


def text_of(function: Callable[..., Any]) -> str:
    """Return what stands for the text of a function: SHA-256, or nothing where it comes without one."""
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()
    except OSError:
        return ""


def _question_of_grants(store: Any) -> Callable[[int, str, frozenset[str]], list[Any]]:
    """Ask as MLflow's `list_grants` does, by a statement that is made once and needs no transaction."""
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
    """Read of a run only what is asked of it here: its experiment."""
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
            return original(fetch, resource_id)  # says what is wrong with it
        run = SimpleNamespace(info=SimpleNamespace(experiment_id=str(experiment)))
        remembered[(id(store), resource_id)] = run
        while len(remembered) > EXPERIMENTS_REMEMBERED:
            remembered.popitem(last=False)
        return run

    return fetch_or_none
