"""Refuses new users whose names differ from those of other users in case alone; knows nothing of deployer.

MLflow compares the names of users by case, except in review queues: there the user `MIA` is assigned to the queues of
the user `mia` (mlflow/server/auth `_review_queue_has_member`). Users that exist stay as they are, and so does the
administrator's account that MLflow makes at start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any

CREATE = ("create_user", "(self, username, password, is_admin=False)")
TAKEN = "The name '{name}' differs from the name of another user only in upper and lower case."


def folded(name: str) -> str:
    """Return a name as MLflow's review queues compare it."""
    return name.strip().lower()


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield the object whose function is replaced, and the function with the signature that it must have."""
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    yield SqlAlchemyStore, *CREATE


def install(current: ContextVar[Any], demand: Callable[..., None]) -> None:
    """Put the check before MLflow's creation of users, where a request asks for a user.

    `current` holds who sent the request that is served (`fastauth_memory.Memory`); `demand` refuses other signatures.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    for seam in seams():
        demand(*seam)
    usual = SqlAlchemyStore.create_user

    @wraps(usual)
    def create_user(self: Any, username: str, password: str, is_admin: bool = False) -> Any:
        if current.get() is not None and isinstance(username, str) and folded(username) in _others(self, username):
            raise MlflowException(TAKEN.format(name=username), RESOURCE_ALREADY_EXISTS)
        return usual(self, username, password, is_admin)

    SqlAlchemyStore.create_user = create_user


def _others(store: Any, username: str) -> set[str]:
    """Return the names of all other users, without regard to case; SQLite itself folds ASCII letters alone."""
    from mlflow.server.auth.db.models import SqlUser
    from sqlalchemy import select

    with store.ManagedSessionMaker(read_only=True) as session:
        names = session.execute(select(SqlUser.username).where(SqlUser.username != username))
        return {folded(name) for (name,) in names}
