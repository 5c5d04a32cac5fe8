"""Fast password checks inside the MLflow server, with every change in force at once; knows nothing of deployer.

MLflow checks a password with scrypt, 90 ms and 32 MiB each time, three to five times a request. Its own cache spares
that for a time during which a changed password goes on to be accepted: by the other workers, and by this one where the
login was just being checked when it was changed. Here a pair of *stored hash* and password is remembered instead, and
the stored hash is read once for each request: a changed or deleted user is a miss in every worker and replica at once.

Seams, in mlflow/server/auth:
- `SqlAlchemyStore.authenticate_user`, which MLflow's Flask and FastAPI routes both end in;
- `SqlAlchemyStore.get_user` and `.list_grants`, asked up to five times for a request: once is enough, until one of the
  store's own methods changes something;
- `_fetch_or_none`, by which a run is read, seven statements, to learn which experiment's permissions hold for it.

fastauth_gate.py asks before MLflow does; what it found out is kept for the request. A password that was right once it
leaves to be checked here, in the thread that serves: that it is right is known, unless it was just changed.

An MLflow of another minor version than those below keeps its own ways; `MLflowsOwn` only looks on, for the gate.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from functools import cached_property, wraps
from types import SimpleNamespace
from typing import Any, Protocol

SUPPORTED_MINORS = ((3, 17), (3, 18))  # whose seams were tried, deployer's tests/local/test_contract.py
SIGNATURES = {  # without annotations, which each Python writes in its own way
    "authenticate_user": "(self, username, password, *, use_primary=False)",
    "get_user": "(self, username)",
    "list_grants": "(self, user_id, workspace, resource_types)",
}
FETCH_SIGNATURE = "(fetch, resource_id)"
# what MLflow's own methods that change something begin with
CHANGES = (
    "create_", "update_", "delete_", "grant_", "revoke_", "rename_", "set_", "add_", "remove_", "assign_", "unassign_"
)  # fmt: skip
EXPERIMENTS_REMEMBERED = 50_000  # of runs, which never move; about 10 MiB


class UnknownSeam(Exception):
    """MLflow's code is not what this was written for."""


class Checks(Protocol):
    """`fastauth_checks.Verified`."""

    def digest(self, *texts: str) -> bytes:
        """Return what stands for these texts."""

    def known(self, user: str, stored: str, password: str) -> bool | None:
        """Tell what is known without a check."""

    def was_right(self, user: str, password: str) -> bool:
        """Tell whether this was the user's password once."""

    def matches(self, user: str, stored: str, password: str) -> bool:
        """Tell whether the password is right."""


class Memory:
    """What one request has found out. The login that it began with holds for all of it.

    A password that changes meanwhile would else end the request with an error after its work was done.
    """

    def __init__(self, username: str, login: bytes, accepted: bool, user: Any | None) -> None:
        self.username = username
        self.login = login
        self.accepted = accepted
        self.user = user
        self.grants: dict[tuple[object, ...], list[Any]] = {}

    def forget(self) -> None:
        """Have the user and their permissions read anew."""
        self.user = None
        self.grants.clear()


_memory: ContextVar[Memory | None] = ContextVar("deployer_request", default=None)


class Logins:
    """The users as the auth database has them just now, and whose password a request has brought."""

    def __init__(self, store: Any, checks: Checks, example: str) -> None:
        self._store = store
        self._checks = checks
        # for users that do not exist: as slow to check as any, and no password belongs to it
        self._nobody = example

    def look_up(self, username: str) -> Any | None:
        """Return MLflow's entity of a user, or None; one statement."""
        if "\0" in username:  # which PostgreSQL's drivers do not even ask for
            return None
        engine, query, entity = self._question
        with engine.connect() as connection:
            row = connection.execute(query, {"username": username}).one_or_none()
        return None if row is None else entity(**row._mapping).to_mlflow_entity()

    @cached_property
    def _question(self) -> tuple[Any, Any, Any]:
        """The engine, the statement and MLflow's class; made once, as they take longer than the answer."""
        import sqlalchemy
        from mlflow.server.auth.db.models import SqlUser

        columns = (SqlUser.id, SqlUser.username, SqlUser.password_hash, SqlUser.is_admin)
        query = sqlalchemy.select(*columns).where(SqlUser.username == sqlalchemy.bindparam("username"))
        # a single statement needs no transaction, which would be two more
        return self._store.engine.execution_options(isolation_level="AUTOCOMMIT"), query, SqlUser

    def pair(self, user: Any | None, username: str, password: str) -> bytes:
        """Return what stands for a user's stored hash and a password."""
        return self._checks.digest(username, self._hash(user), password)

    def known(self, user: Any | None, username: str, password: str) -> bool | None:
        """Tell whether this user's password is known to be right or wrong, or None; takes no time."""
        return self._checks.known(username, self._hash(user), password)

    def was_right(self, username: str, password: str) -> bool:
        """Tell whether this was the user's password once."""
        return self._checks.was_right(username, password)

    def check(self, user: Any | None, username: str, password: str) -> bool:
        """Tell whether it is this user's password; 90 ms and 32 MiB for one that is not known."""
        return self._checks.matches(username, self._hash(user), password) and user is not None

    def _hash(self, user: Any | None) -> str:
        return self._nobody if user is None else str(user.password_hash)

    def begin_anew(self) -> None:
        """Forget the request before: one that was sent along with it is served with what that one knew."""
        _memory.set(None)

    def begin(self, user: Any | None, username: str, password: str, accepted: bool) -> None:
        """Keep what was found out for the rest of this request."""
        login = self._checks.digest(username, password)
        _memory.set(Memory(username, login, accepted, user if accepted else None))

    def authenticate(self, username: str | None, password: str | None) -> bool:
        """Tell whether the user has this password now; the primary database alone is asked.

        MLflow also asks where there is neither: for a token, say.
        """
        if username is None or password is None:
            return False
        memory = _memory.get()
        if memory is not None and memory.login == self._checks.digest(username, password):
            return memory.accepted
        if _on_the_event_loop():
            return False  # who has not come by way of the gate waits for no check where everybody would
        user = self.look_up(username)
        accepted = self.check(user, username, password)
        if memory is None:
            self.begin(user, username, password, accepted)
        return accepted


class MLflowsOwn:
    """The logins of an MLflow that checks passwords in ways of its own; tells the gate which of them are guesses.

    It lets nobody in and keeps nobody out: MLflow is asked for every request, and what was right once may not be now.
    `checks` must remember no wrong password, which may be right later, and takes the user's name for a stored hash.
    """

    def __init__(self, checks: Checks) -> None:
        self._checks = checks

    def look_up(self, _username: str) -> None:
        """Return nobody: how users are stored is not known."""

    def pair(self, _user: None, username: str, password: str) -> bytes:
        """Return what stands for a user and a password."""
        return self._checks.digest(username, password)

    def known(self, _user: None, username: str, password: str) -> bool | None:
        """Tell whether this was the user's password once, or None; takes no time."""
        return self._checks.known(username, username, password)

    def was_right(self, username: str, password: str) -> bool:
        """Tell whether this was the user's password once."""
        return self._checks.was_right(username, password)

    def check(self, _user: None, username: str, password: str) -> bool:
        """Tell whether it is this user's password, as MLflow does."""
        return self._checks.matches(username, username, password)

    def begin_anew(self) -> None:
        """Nothing was kept of the request before."""

    def begin(self, _user: None, _username: str, _password: str, _accepted: bool) -> None:
        """Nothing is kept: MLflow asks by itself."""


def supports(version: str) -> bool:
    """Tell whether the seams of this MLflow are known."""
    found = re.match(r"(\d+)\.(\d+)\.", version)
    return found is not None and (int(found[1]), int(found[2])) in SUPPORTED_MINORS


def _on_the_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def install(checks: Checks) -> Logins:
    """Put the fast check and the memory in the place of MLflow's own ways.

    Raises:
        UnknownSeam: this MLflow's are called in another way; nothing was changed.
    """
    from mlflow.server import auth
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
    from werkzeug.security import generate_password_hash

    for name, signature in SIGNATURES.items():
        _demand(SqlAlchemyStore, name, signature)
    _demand(auth, "_fetch_or_none", FETCH_SIGNATURE)
    logins = Logins(auth.store, checks, generate_password_hash(secrets.token_urlsafe()))

    def authenticate_user(_self: Any, username: str, password: str, *, use_primary: bool = False) -> bool:
        return logins.authenticate(username, password)

    SqlAlchemyStore.authenticate_user = authenticate_user
    SqlAlchemyStore.get_user = _user_of_the_request(SqlAlchemyStore.get_user)
    SqlAlchemyStore.list_grants = _grants_of_the_request(SqlAlchemyStore.list_grants)
    for name, method in list(vars(SqlAlchemyStore).items()):
        if name.startswith(CHANGES):
            setattr(SqlAlchemyStore, name, _forgets(method))
    auth._fetch_or_none = _fetch_or_none(auth._fetch_or_none)
    return logins


def _demand(owner: Any, name: str, wanted: str) -> None:
    function = getattr(owner, name, None)
    if not callable(function):
        raise UnknownSeam(f"there is no {name}{wanted}")
    signature = inspect.signature(function)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    found = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    if found != wanted:
        raise UnknownSeam(f"{name}{found} instead of {name}{wanted}")


def _user_of_the_request(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def get_user(self: Any, username: str) -> Any:
        memory = _memory.get()
        if memory is None or username != memory.username or not memory.accepted:
            return original(self, username)
        if memory.user is None:
            memory.user = original(self, username)
        return memory.user

    return get_user


def _grants_of_the_request(original: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    @wraps(original)
    def list_grants(self: Any, user_id: int, workspace: str, resource_types: Any) -> list[Any]:
        memory = _memory.get()
        if memory is None:
            return original(self, user_id, workspace, resource_types)
        asked = (user_id, workspace, frozenset(resource_types))
        if asked not in memory.grants:
            memory.grants[asked] = original(self, user_id, workspace, asked[2])
        return list(memory.grants[asked])

    return list_grants


def _forgets(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def changing(*arguments: Any, **options: Any) -> Any:
        try:
            return original(*arguments, **options)
        finally:
            if memory := _memory.get():
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
