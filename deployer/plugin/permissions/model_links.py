"""Keeps users with only READ on a logged model from changing its tags; does not import deployer.

When a logged model is registered, MLflow adds the new model version to a tag of the logged model
(`AbstractStore.set_model_versions_tags`). Registering requires only READ on the logged model (mlflow/server/auth
`validate_can_create_model_version`), but changing its tags requires UPDATE. With this module, MLflow writes the tag
only if the user may update the logged model. The model version itself refers to the logged model in any case.
"""

from __future__ import annotations

from functools import wraps
from typing import Any

from ..auth.request_cache import current


def install() -> None:
    """Check the permission before MLflow writes the tag."""
    from mlflow.server import auth
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    usual = SqlAlchemyStore.set_model_versions_tags

    @wraps(usual)
    def set_model_versions_tags(self: Any, name: str, version: str, model_id: str) -> None:
        if current.get() is None or auth.sender_is_admin() or auth._authorize_logged_model_id(model_id, "update"):
            usual(self, name, version, model_id)

    SqlAlchemyStore.set_model_versions_tags = set_model_versions_tags
