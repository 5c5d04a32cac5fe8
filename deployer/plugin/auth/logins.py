"""Checks passwords fast inside the MLflow server, with user changes effective at once; does not import deployer.

MLflow checks a password with scrypt three to five times a request, which takes 90 ms and 32 MiB each time. MLflow's own
cache avoids these checks for some time. During that time, other workers may still accept the old password after a
change. A worker that was checking the old password during the change may also accept it later. This module caches pairs
of *password hash* and password instead, and reads the hash from the database once for each request. A changed or
deleted user is therefore a cache miss in every worker and replica at once.

The module replaces `SqlAlchemyStore.authenticate_user` in mlflow/server/auth, which MLflow's Flask and FastAPI routes
both call. The result is kept for the rest of the request in request_cache.py.

The gate (gate.py) checks a login before MLflow does, and records the result for the request. If the login has
been accepted before, the gate defers the check to the thread that serves the request. There this module looks up the
user. The password needs no new scrypt check unless the user's hash has just changed.

If the minor version of MLflow is not supported (seams.tsv), MLflow checks passwords itself, and passthrough.py takes
the place of this module.
"""

from __future__ import annotations

import asyncio
import secrets
from functools import cached_property
from typing import Any

from .request_cache import Memory, current
from .verified_passwords import Verified


class Logins:
    """Looks up users in the auth database, checks passwords, and records the result for the current request."""

    def __init__(self, store: Any, passwords: Verified, example: str) -> None:
        self._store = store
        self.passwords = passwords
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
        """The engine, the statement and MLflow's class. Building them takes longer than the query."""
        import sqlalchemy
        from mlflow.server.auth.db.models import SqlUser

        columns = (SqlUser.id, SqlUser.username, SqlUser.password_hash, SqlUser.is_admin)
        query = sqlalchemy.select(*columns).where(SqlUser.username == sqlalchemy.bindparam("username"))
        # a single statement needs no transaction, which would add two statements
        return self._store.engine.execution_options(isolation_level="AUTOCOMMIT"), query, SqlUser

    def pair(self, user: Any | None, username: str, password: str) -> bytes:
        """Return a digest of a user's password hash and a password."""
        return self.passwords.digest(username, self._hash(user), password)

    def known(self, user: Any | None, username: str, password: str) -> bool | None:
        """Return whether this user's password is known to be right or wrong, or None if unknown; runs no check."""
        return self.passwords.known(username, self._hash(user), password)

    def check(self, user: Any | None, username: str, password: str) -> bool:
        """Check whether this is the user's password; takes 90 ms and 32 MiB unless the result is known."""
        return self.passwords.matches(username, self._hash(user), password) and user is not None

    def _hash(self, user: Any | None) -> str:
        return self._nobody if user is None else str(user.password_hash)

    def begin_anew(self) -> None:
        """Forget the login of the previous request; the login of the new request is not known yet."""
        current.set(Memory("", b"", False, None))

    def record(self, user: Any | None, username: str, password: str, accepted: bool) -> None:
        """Record the result of this request's login check until the end of the request."""
        login = self.passwords.digest(username, password)
        current.set(Memory(username, login, accepted, user if accepted else None))

    def defer(self, username: str, password: str) -> None:
        """Leave the look-up of this request's login to the thread that serves the request."""
        self.record(None, username, password, accepted=False)

    def is_authenticated(self) -> bool:
        """Tell whether this request's login was accepted; False while its look-up is deferred."""
        memory = current.get()
        return memory is not None and memory.accepted

    def authenticate(self, username: str | None, password: str | None) -> bool:
        """Tell whether this is the user's password now; reads only the primary database.

        MLflow also calls this without a user name and password, for example if the request has a token. A login that
        the gate did not find in the request is refused, because guesses could otherwise bypass the gate. There is one
        exception: when a logged-in user changes the password, MLflow asks for the current password and checks it with
        this function.
        """
        if username is None or password is None:
            return False
        memory = current.get()
        own = memory if memory and memory.login == self.passwords.digest(username, password) else None
        if own and own.confirmed:
            return own.accepted
        if _on_the_event_loop():
            return own is not None and own.accepted  # the gate's result is current: nothing was awaited since
        if not own and memory and not (memory.accepted and memory.username == username):
            return False
        user = self.look_up(username)
        accepted = self.check(user, username, password)
        if own:
            own.confirm(accepted, user if accepted else None)
        return accepted


def _on_the_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def install(passwords: Verified) -> Logins:
    """Replace MLflow's password check; call this once seams.py has checked this MLflow."""
    from mlflow.server import auth
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
    from werkzeug.security import generate_password_hash

    logins = Logins(auth.store, passwords, generate_password_hash(secrets.token_urlsafe()))

    def authenticate_user(_self: Any, username: str, password: str, *, use_primary: bool = False) -> bool:
        return logins.authenticate(username, password)

    SqlAlchemyStore.authenticate_user = authenticate_user
    return logins
