"""Keeps readers of a logged model from changing the model by registering it; knows nothing of deployer.

MLflow notes each version of a registered model in a tag of the logged model that the version comes from
(`AbstractStore.set_model_versions_tags`). A member needs READ to register the logged model (mlflow/server/auth
`validate_can_create_model_version`), and UPDATE to change its tags. Here MLflow writes the tag only where the member
may update the logged model. The version itself refers to the logged model in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any

TAGS = ("set_model_versions_tags", "(self, name, version, model_id)")
PERMISSION = ("_authorize_logged_model_id", "(model_id, action)")


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield the objects whose functions are replaced or called, and those with the signatures that they must have."""
    from mlflow.server import auth
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    yield SqlAlchemyStore, *TAGS
    yield auth, *PERMISSION


def install(current: ContextVar[Any], demand: Callable[..., None]) -> None:
    """Put the check before MLflow's writing of the tag.

    `current` holds who sent the request that is served (`fastauth_memory.Memory`); `demand` refuses other signatures.
    """
    from mlflow.server import auth
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for seam in seams():
        demand(*seam)
    usual = SqlAlchemyStore.set_model_versions_tags

    @wraps(usual)
    def set_model_versions_tags(self: Any, name: str, version: str, model_id: str) -> None:
        if current.get() is None or auth.sender_is_admin() or auth._authorize_logged_model_id(model_id, "update"):
            usual(self, name, version, model_id)

    SqlAlchemyStore.set_model_versions_tags = set_model_versions_tags
