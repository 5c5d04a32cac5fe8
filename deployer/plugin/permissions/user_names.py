"""Refuses new user names that differ from existing ones only in case; does not import deployer.

MLflow compares user names case-sensitively, except in review queues: there, the user `MIA` is assigned to the queues of
the user `mia` (mlflow/server/auth `_review_queue_has_member`). Existing users stay as they are, and so does the
administrator's account that MLflow creates at start.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from ..auth.request_cache import current

TAKEN = "The name '{name}' differs from the name of another user only in upper and lower case."


def folded(name: str) -> str:
    """Return a name as MLflow's review queues compare it."""
    return name.strip().lower()


def install() -> None:
    """Check the name before MLflow creates a user for a request."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    usual = SqlAlchemyStore.create_user

    @wraps(usual)
    def create_user(self: Any, username: str, password: str, is_admin: bool = False) -> Any:
        if current.get() is not None and isinstance(username, str) and folded(username) in _others(self, username):
            raise MlflowException(TAKEN.format(name=username), RESOURCE_ALREADY_EXISTS)
        return usual(self, username, password, is_admin)

    SqlAlchemyStore.create_user = create_user


def _others(store: Any, username: str) -> set[str]:
    """Return the folded names of all other users; folded in Python, because SQLite folds only ASCII letters."""
    from mlflow.server.auth.db.models import SqlUser
    from sqlalchemy import select

    with store.ManagedSessionMaker(read_only=True) as session:
        names = session.execute(select(SqlUser.username).where(SqlUser.username != username))
        return {folded(name) for (name,) in names}
