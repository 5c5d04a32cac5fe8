"""Checks the source of a new model version before MLflow follows the source; does not import deployer.

- MLflow resolves all symbolic links in a source that is a path, and its error message contains the result
  (mlflow/server/handlers.py `_validate_source_run`, `_validate_source_model`). For other sources, the message tells
  whether the path of the source has a symbolic link (`_validate_non_local_source_contains_relative_paths`). So a member
  could find out which files the server has open (`/proc/self/fd/3`). With this module, MLflow resolves no path for
  non-admin users, and accepts only the sources that artifact_locations.py accepts.
- The source of a new version may be a version of another model. The new version then has the files of its source. A
  role can deny all model versions. MLflow checks only the object to which the new version is added, and not the source.
  If this object is a model, MLflow checks for a denial of model versions. If it is a prompt, MLflow checks for a denial
  of prompt versions instead (mlflow/server/auth `validate_can_create_model_version`). With this module, a user who is
  denied model versions cannot use a model version as a source.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from .artifact_locations import is_source, refusal, wrong_with_source

CREATE = "validate_can_create_model_version"
OF_HANDLERS = ("_validate_source_run", "_validate_source_model")
RELATIVE = "_validate_non_local_source_contains_relative_paths"
MODEL, VERSION = "registered_model", "registered_model_version"  # types of objects in permissions


def install() -> None:
    """Add the checks to MLflow's checks."""
    from mlflow.server import auth, handlers

    for name in OF_HANDLERS:
        setattr(handlers, name, _without_paths(getattr(handlers, name)))
    setattr(handlers, RELATIVE, _of_administrators(getattr(handlers, RELATIVE)))
    usual, validators = getattr(auth, CREATE), auth.BEFORE_REQUEST_VALIDATORS
    routes = [route for route, validator in validators.items() if validator is usual]
    validators.update(dict.fromkeys(routes, _without_denied_versions(usual)))


def _without_paths(validate: Callable[[str, str], None]) -> Callable[[str, str], None]:
    from mlflow.server import auth

    @wraps(validate)
    def validate_source(source: str, identifier: str) -> None:
        if not is_source(source) and not auth.sender_is_admin():
            raise refusal(wrong_with_source(source))
        validate(source, identifier)

    return validate_source


def _of_administrators(validate: Callable[[str], None]) -> Callable[[str], None]:
    """Run MLflow's check only for administrators.

    For other users, `_without_paths` has already refused relative paths, without reading the file system.
    """
    from mlflow.server import auth

    @wraps(validate)
    def validate_source(source: str) -> None:
        if auth.sender_is_admin():
            validate(source)

    return validate_source


def _without_denied_versions(validate: Callable[[], bool]) -> Callable[[], bool]:
    from mlflow.server import auth

    @wraps(validate)
    def validate_can_create_model_version() -> bool:
        return validate() and _may_copy(auth, str(auth._get_request_param("source")))

    return validate_can_create_model_version


def _may_copy(auth: Any, source: str) -> bool:
    name = auth._parse_model_uri(source).name if auth.is_models_uri(source) else None
    if name is None:
        return True
    required = [auth.Requirement(VERSION, "*", auth.ACTION_NOT_DENIED)]
    return bool(auth.authorize(auth.authenticate_request().username, (MODEL, name), required))
