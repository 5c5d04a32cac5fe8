"""Prevents members from turning a model into a prompt, or a prompt into a model; does not import deployer.

A prompt is a registered model with the tag `mlflow.prompt.is_prompt`. MLflow stores permissions on models and prompts
separately, under the name of the object, and reads the tag to decide which of the two apply (mlflow/server/auth
`_get_permission_from_registered_model_or_prompt_name`). For MLflow, `set-tag` and `delete-tag` only need EDIT. So a
user with EDIT on a model could change the tag, and the permissions of the model's owner would no longer apply. Searches
of model versions read the tag of each version instead (`_rm_or_prompt_version_read_predicate`).

So only administrators may set or delete this tag on an existing model, prompt or version. MLflow's clients send the tag
only when they create one of them. MLflow's check for creating a model or a prompt considers the tag
(`validate_can_create_registered_model`), and version_kinds.py checks the tag of a new version.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from ..auth.request_cache import current

OF_STORE = (
    "set_registered_model_tag",
    "delete_registered_model_tag",
    "set_model_version_tag",
    "delete_model_version_tag",
)


def install() -> None:
    """Check the key of a tag before MLflow sets or deletes the tag."""
    from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
    from mlflow.server import auth
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    def check(key: str) -> None:
        if key == IS_PROMPT_TAG_KEY and current.get() is not None and not auth.sender_is_admin():
            raise _denied(f"Only administrators may change the tag '{key}'.")

    for name in OF_STORE:
        setattr(SqlAlchemyStore, name, _checked(getattr(SqlAlchemyStore, name), check))


def _checked(original: Callable[..., None], check: Callable[[str], None]) -> Callable[..., None]:
    parameters = inspect.signature(original)

    @wraps(original)
    def checked(*arguments: Any, **named: Any) -> None:
        given = parameters.bind(*arguments, **named).arguments
        check(given["key"] if "key" in given else given["tag"].key)
        original(*arguments, **named)

    return checked


def _denied(text: str) -> Exception:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

    denied: Exception = MlflowException(text, PERMISSION_DENIED)
    return denied
