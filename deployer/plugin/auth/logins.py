"""Checks passwords fast inside the MLflow server, with user changes effective at once; does not import deployer.

MLflow checks a password with scrypt three to five times a request, which takes 90 ms and 32 MiB each time. MLflow's own
cache avoids these checks for some time. During that time, the old password may still be accepted after a change. Other
workers may do so, and also the same worker if it was checking the login during the change. This module caches pairs of
*password hash* and password instead, and reads the hash from the database once for each request. A changed or deleted
user is therefore a cache miss in every worker and replica at once.

The module replaces `SqlAlchemyStore.authenticate_user` in mlflow/server/auth, which MLflow's Flask and FastAPI routes
both call. The result is kept for the rest of the request in fastauth_memory.py, which `install` gets as an argument.

The gate (fastauth_gate.py) checks a login before MLflow does, and records the result for the request. If the login has
been accepted before, the gate defers the check to the thread that serves the request. There this module looks up the
user. The password needs no new scrypt check unless the user's hash has just changed.

If the minor version of MLflow is not in SUPPORTED_MINORS, MLflow checks passwords itself. `PassthroughAuthenticator`
then only tells the gate which logins may be guesses.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import secrets
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Protocol

SUPPORTED_MINORS = ((3, 17), (3, 18))  # deployer's tests/local/test_contract.py tests them
SIGNATURE = "(self, username, password, *, use_primary=False)"  # without annotations, which differ between Pythons
# SHA-256 of the source of MLflow's `authenticate_user`, equal in all patch releases of these minor versions. This
# module does what that source does.
TEXT = "c472bd4fddf6b5049e7a87818e2ec39c37df6af505ce6fb56d1ba8e709d9a67f"


class UnknownSeam(Exception):
    """MLflow's code differs from the code that this module was written for."""


class Checks(Protocol):
    """The part of `fastauth_checks.Verified` that is used here."""

    def digest(self, *texts: str) -> bytes:
        """Return a digest of these texts."""

    def known(self, user: str, stored: str, password: str) -> bool | None:
        """Return whether the password is right, or None if that is unknown; runs no check."""

    def was_right(self, user: str, password: str) -> bool:
        """Tell whether this was once the user's password."""

    def was_checked(self, user: str, password: str) -> bool:
        """Tell whether this password was checked for this user before."""

    def verified_by_any_worker(self, user: str, password: str) -> bool:
        """Tell whether any process of this server has found this password right for the user."""

    def matches(self, user: str, stored: str, password: str) -> bool:
        """Check whether the password is right."""


class Logins:
    """Looks up users in the auth database, checks passwords, and records the result for the current request."""

    def __init__(self, store: Any, checks: Checks, memory: Any, example: str) -> None:
        self._store = store
        self._checks = checks
        self._memory = memory
        # hash for unknown users: checking it takes as long as checking any other, and no password matches it
        self._nobody = example

    def look_up(self, username: str) -> Any | None:
        """Return MLflow's entity of a user, or None; runs one SQL statement."""
        if "\0" in username:  # PostgreSQL's drivers do not send such a text
            return None
        engine, query, entity = self._question
        with engine.connect() as connection:
            row = connection.execute(query, {"username": username}).one_or_none()
        return None if row is None else entity(**row._mapping).to_mlflow_entity()

    @cached_property
    def _question(self) -> tuple[Any, Any, Any]:
        """The engine, the statement and MLflow's class; built once: that takes longer than the query."""
        import sqlalchemy
        from mlflow.server.auth.db.models import SqlUser

        columns = (SqlUser.id, SqlUser.username, SqlUser.password_hash, SqlUser.is_admin)
        query = sqlalchemy.select(*columns).where(SqlUser.username == sqlalchemy.bindparam("username"))
        # a single statement needs no transaction, which would add two statements
        return self._store.engine.execution_options(isolation_level="AUTOCOMMIT"), query, SqlUser

    def pair(self, user: Any | None, username: str, password: str) -> bytes:
        """Return a digest of a user's password hash and a password."""
        return self._checks.digest(username, self._hash(user), password)

    def known(self, user: Any | None, username: str, password: str) -> bool | None:
        """Return whether this user's password is known to be right or wrong, or None if unknown; runs no check."""
        return self._checks.known(username, self._hash(user), password)

    def was_right(self, username: str, password: str) -> bool:
        """Tell whether this was once the user's password."""
        return self._checks.was_right(username, password)

    def was_checked(self, username: str, password: str) -> bool:
        """Tell whether this password was checked for this user before."""
        return self._checks.was_checked(username, password)

    def verified_by_any_worker(self, username: str, password: str) -> bool:
        """Tell whether any process of this server has found this password right for the user."""
        return self._checks.verified_by_any_worker(username, password)

    def check(self, user: Any | None, username: str, password: str) -> bool:
        """Check whether this is the user's password; takes 90 ms and 32 MiB unless the result is known."""
        return self._checks.matches(username, self._hash(user), password) and user is not None

    def _hash(self, user: Any | None) -> str:
        return self._nobody if user is None else str(user.password_hash)

    def begin_anew(self) -> None:
        """Start a request without a login, and forget the login of the previous request."""
        self._memory.current.set(self._memory.Memory("", b"", False, None))

    def record(self, user: Any | None, username: str, password: str, accepted: bool) -> None:
        """Record the result of this request's login check until the request has been served."""
        login = self._checks.digest(username, password)
        self._memory.current.set(self._memory.Memory(username, login, accepted, user if accepted else None))

    def defer(self, username: str, password: str) -> None:
        """Defer the look-up of this request's login until the request is served."""
        self.record(None, username, password, accepted=False)

    def is_authenticated(self) -> bool:
        """Tell whether this request's login was accepted; False while its look-up is deferred."""
        memory = self._memory.current.get()
        return memory is not None and bool(memory.accepted)

    def authenticate(self, username: str | None, password: str | None) -> bool:
        """Tell whether this is the user's password now; reads only the primary database.

        MLflow also calls this without a user name and password, for example if the request has a token. A login that
        the gate did not find in the request is refused, because guesses could otherwise bypass the gate. There is one
        exception: an authenticated user may be asked for the password again, to change it.
        """
        if username is None or password is None:
            return False
        memory = self._memory.current.get()
        own = memory is not None and memory.login == self._checks.digest(username, password)
        if own and memory.confirmed:
            return bool(memory.accepted)
        if _on_the_event_loop():
            return bool(own and memory.accepted)  # the gate's result is current: nothing was awaited since
        if not own and memory is not None and not (memory.accepted and memory.username == username):
            return False
        user = self.look_up(username)
        accepted = self.check(user, username, password)
        if own:
            memory.confirm(accepted, user if accepted else None)
        return accepted


class PassthroughAuthenticator:
    """Logins of an unsupported MLflow, which checks passwords itself; tells the gate which logins may be guesses.

    It makes no decision and only classifies requests for throttling. MLflow checks the login of every request.
    `checks` must not remember wrong passwords, because a wrong password may be right later. It gets the user name in
    place of a password hash.
    """

    def __init__(self, checks: Checks) -> None:
        self._checks = checks

    def look_up(self, _username: str) -> None:
        """Return None: how this MLflow stores users is unknown."""

    def pair(self, _user: None, username: str, password: str) -> bytes:
        """Return a digest of a user name and a password."""
        return self._checks.digest(username, password)

    def known(self, _user: None, username: str, password: str) -> bool | None:
        """Return True if this was once the user's password, else None; runs no check."""
        return self._checks.known(username, username, password)

    def was_right(self, username: str, password: str) -> bool:
        """Tell whether this was once the user's password."""
        return self._checks.was_right(username, password)

    def was_checked(self, username: str, password: str) -> bool:
        """Tell whether this password was checked for this user before."""
        return self._checks.was_checked(username, password)

    def verified_by_any_worker(self, username: str, password: str) -> bool:
        """Tell whether any process of this server has found this password right for the user."""
        return self._checks.verified_by_any_worker(username, password)

    def check(self, _user: None, username: str, password: str) -> bool:
        """Check whether this is the user's password, by MLflow's own function."""
        return self._checks.matches(username, username, password)

    def begin_anew(self) -> None:
        """Do nothing: nothing was recorded for the previous request."""

    def record(self, _user: None, _username: str, _password: str, _accepted: bool) -> None:
        """Do nothing: MLflow checks the login itself."""

    def defer(self, _username: str, _password: str) -> None:
        """Do nothing: MLflow checks the login itself."""

    def is_authenticated(self) -> bool:
        """Return True: only the status of the response tells whether MLflow accepted the login."""
        return True


def supports(version: str) -> bool:
    """Tell whether this version of MLflow is supported."""
    found = re.match(r"(\d+)\.(\d+)\.", version)
    return found is not None and (int(found[1]), int(found[2])) in SUPPORTED_MINORS


def _on_the_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def install(checks: Checks, memory: Any, search: Any, closed: Any, locations: Any) -> Logins:
    """Replace MLflow's password check with the fast one; all arguments but `checks` are modules of this folder.

    Raises:
        UnknownSeam: a function of this MLflow has another signature, or the source of the replaced function differs;
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
