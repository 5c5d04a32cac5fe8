"""Fast password checks inside the MLflow server, with every change in force at once; knows nothing of deployer.

MLflow checks a password with scrypt, 90 ms and 32 MiB each time, three to five times a request. Its own cache spares
that for a time during which a changed password goes on to be accepted: by the other workers, and by this one where the
login was just being checked when it was changed. Here a pair of *stored hash* and password is remembered instead, and
the stored hash is read once for each request: a changed or deleted user is a miss in every worker and replica at once.

The seam is `SqlAlchemyStore.authenticate_user` in mlflow/server/auth, which MLflow's Flask and FastAPI routes both end
in. What a request has found out is kept for the rest of it in fastauth_memory.py, which is handed in.

fastauth_gate.py asks before MLflow does; what it found out is kept for the request. A password that was right once it
leaves to be checked here, in the thread that serves: that it is right is known, unless it was just changed.

An MLflow of another minor version than those below keeps its own ways; `MLflowsOwn` only looks on, for the gate.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import secrets
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Protocol

SUPPORTED_MINORS = ((3, 17), (3, 18))  # whose seams were tried, deployer's tests/local/test_contract.py
SIGNATURE = "(self, username, password, *, use_primary=False)"  # without annotations: each Python writes its own
# of MLflow's `authenticate_user`, SHA-256: what it does, as all patches of these versions do, is done here in its place
TEXT = "c472bd4fddf6b5049e7a87818e2ec39c37df6af505ce6fb56d1ba8e709d9a67f"


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

    def was_checked(self, user: str, password: str) -> bool:
        """Tell whether this password was checked for this user once."""

    def was_right_anywhere(self, user: str, password: str) -> bool:
        """Tell whether this was the user's password once, for any process of this server."""

    def matches(self, user: str, stored: str, password: str) -> bool:
        """Tell whether the password is right."""


class Logins:
    """The users as the auth database has them just now, and whose password a request has brought."""

    def __init__(self, store: Any, checks: Checks, memory: Any, example: str) -> None:
        self._store = store
        self._checks = checks
        self._memory = memory
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

    def was_checked(self, username: str, password: str) -> bool:
        """Tell whether this password was checked for this user once."""
        return self._checks.was_checked(username, password)

    def was_right_anywhere(self, username: str, password: str) -> bool:
        """Tell whether this was the user's password once, for any process of this server."""
        return self._checks.was_right_anywhere(username, password)

    def check(self, user: Any | None, username: str, password: str) -> bool:
        """Tell whether it is this user's password; 90 ms and 32 MiB for one that is not known."""
        return self._checks.matches(username, self._hash(user), password) and user is not None

    def _hash(self, user: Any | None) -> str:
        return self._nobody if user is None else str(user.password_hash)

    def begin_anew(self) -> None:
        """Begin a request that brings no login, and know nothing of the one before."""
        self._memory.current.set(self._memory.Memory("", b"", False, None))

    def begin(self, user: Any | None, username: str, password: str, accepted: bool) -> None:
        """Keep what was found out about the login of this request until it is served."""
        login = self._checks.digest(username, password)
        self._memory.current.set(self._memory.Memory(username, login, accepted, user if accepted else None))

    def expect(self, username: str, password: str) -> None:
        """Leave the login of this request to be looked up when it is served."""
        self.begin(None, username, password, accepted=False)

    def let_in(self) -> bool:
        """Tell whether the login of this request was accepted, as far as it was looked up."""
        memory = self._memory.current.get()
        return memory is not None and bool(memory.accepted)

    def authenticate(self, username: str | None, password: str | None) -> bool:
        """Tell whether the user has this password now; the primary database alone is asked.

        MLflow also asks where there is neither: for a token, say. What it finds in a request and the gate did not is no
        login, or guesses would go past it; but who is let in may be asked for their password again, to change it.
        """
        if username is None or password is None:
            return False
        memory = self._memory.current.get()
        own = memory is not None and memory.login == self._checks.digest(username, password)
        if own and memory.confirmed:
            return bool(memory.accepted)
        if _on_the_event_loop():
            return bool(own and memory.accepted)  # as just found out: nothing is waited for between that and this
        if not own and memory is not None and not (memory.accepted and memory.username == username):
            return False
        user = self.look_up(username)
        accepted = self.check(user, username, password)
        if own:
            memory.confirm(accepted, user if accepted else None)
        return accepted


class MLflowsOwn:
    """The logins of an MLflow that checks passwords in ways of its own; tells the gate which of them are guesses.

    It makes no decision and only classifies requests for throttling. MLflow is asked for every request.
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

    def was_checked(self, username: str, password: str) -> bool:
        """Tell whether this password was checked for this user once."""
        return self._checks.was_checked(username, password)

    def was_right_anywhere(self, username: str, password: str) -> bool:
        """Tell whether this was the user's password once, for any process of this server."""
        return self._checks.was_right_anywhere(username, password)

    def check(self, _user: None, username: str, password: str) -> bool:
        """Tell whether it is this user's password, as MLflow does."""
        return self._checks.matches(username, username, password)

    def begin_anew(self) -> None:
        """Nothing was kept of the request before."""

    def begin(self, _user: None, _username: str, _password: str, _accepted: bool) -> None:
        """Nothing is kept: MLflow asks by itself."""

    def expect(self, _username: str, _password: str) -> None:
        """Whatever comes, MLflow asks by itself."""

    def let_in(self) -> bool:
        """Leave it to the status of the answer."""
        return True


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


def install(checks: Checks, memory: Any, search: Any, closed: Any, locations: Any) -> Logins:
    """Put the fast check in the place of MLflow's own; all but `checks` are modules of this folder.

    Raises:
        UnknownSeam: this MLflow's functions are called in another way, or the one that is replaced does something else;
            nothing was changed.
    """
    from mlflow.server import auth
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
    from werkzeug.security import generate_password_hash

    for part_of in (_seams, memory.seams, search.seams, closed.seams, locations.seams):
        for seam in part_of():
            _demand(*seam)
    if memory.text_of(SqlAlchemyStore.authenticate_user) != TEXT:
        raise UnknownSeam("authenticate_user does something else than it did")
    memory.install()
    search.install()
    logins = Logins(auth.store, checks, memory, generate_password_hash(secrets.token_urlsafe()))

    def authenticate_user(_self: Any, username: str, password: str, *, use_primary: bool = False) -> bool:
        return logins.authenticate(username, password)

    SqlAlchemyStore.authenticate_user = authenticate_user
    closed.install()
    locations.install(memory)
    return logins


def _seams() -> Iterator[tuple[Any, str, str]]:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    yield SqlAlchemyStore, "authenticate_user", SIGNATURE


def _demand(owner: Any, name: str, wanted: str) -> None:
    function = getattr(owner, name, None)
    if not callable(function):
        raise UnknownSeam(f"there is no {name}{wanted}")
    signature = inspect.signature(function)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    found = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    if found != wanted:
        raise UnknownSeam(f"{name}{found} instead of {name}{wanted}")
