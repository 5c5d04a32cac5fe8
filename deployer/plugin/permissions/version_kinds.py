"""Applies the permissions on a prompt, or on a model, to all of its versions; does not import deployer.

A prompt is a registered model with the tag `mlflow.prompt.is_prompt`. Permissions on models and on prompts are
separate, and this tag decides which of the two apply. Versions have the tag, too, and it may differ:

- MLflow accepts a new version without the tag in a prompt, and one with the tag in a model. Searches use the tag of the
  version (mlflow/server/auth `_rm_or_prompt_version_read_predicate`). So readers of models would find the version of a
  prompt. A user who is denied model versions could also copy one into a prompt. With this module, the tag of a new
  version must be that of its prompt or model. readable_rows.py hides versions that were stored earlier.
- For the files of a version, MLflow always requires READ on a model of that name
  (`_get_permission_from_model_version`). With this module, a user also needs READ on the prompt if the version belongs
  to a prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

CREATE, READ_FILE = "validate_can_create_model_version", "validate_can_read_model_version_artifact"


def install() -> None:
    """Add the checks to MLflow's checks of non-admin users."""
    from mlflow.server import auth

    for name, further in ((CREATE, _has_the_tag_of_its_prompt_or_model), (READ_FILE, _may_read_prompt_or_model)):
        usual, validators = getattr(auth, name), auth.BEFORE_REQUEST_VALIDATORS
        checked = _with(usual, further)
        validators.update({route: checked for route, validator in validators.items() if validator is usual})


def _with(validate: Callable[[], bool], further: Callable[[Any], bool]) -> Callable[[], bool]:
    from mlflow.server import auth

    @wraps(validate)
    def validate_both() -> bool:
        return validate() and further(auth)

    return validate_both


def _has_the_tag_of_its_prompt_or_model(auth: Any) -> bool:
    """Return True; raises an error if the tag of a new version differs from the tag of its prompt or model."""
    from mlflow.exceptions import MlflowException
    from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
    from mlflow.protos.model_registry_pb2 import CreateModelVersion

    kind, _ = auth._registered_model_or_prompt_target()
    is_marked = auth._prompt_marker_in_tags(auth._get_request_message(CreateModelVersion()).tags) is True
    if is_marked == (kind == "prompt"):
        return True
    if is_marked:
        raise MlflowException.invalid_parameter_value(
            f"A version of a model must not have the tag {IS_PROMPT_TAG_KEY}."
        )
    raise MlflowException.invalid_parameter_value(f"A version of a prompt needs the tag {IS_PROMPT_TAG_KEY}=true.")


def _may_read_prompt_or_model(auth: Any) -> bool:
    return bool(auth._get_registered_model_or_prompt_permission(auth._get_request_param("name")).can_read)
