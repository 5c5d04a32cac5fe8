"""Checks the source of a new model version before MLflow follows the source; does not import deployer.

MLflow resolves all symbolic links in a source that is a path, and its error message contains the result
(mlflow/server/handlers.py `_validate_source_run`, `_validate_source_model`). For other sources, the message tells
whether the path of the source has a symbolic link (`_validate_non_local_source_contains_relative_paths`). So a member
could find out which files the server has open (`/proc/self/fd/3`). With this module, MLflow resolves no path for
non-admin users, and accepts only the sources that artifact_locations.py accepts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from .artifact_locations import is_source, refusal, wrong_with_source

OF_HANDLERS = ("_validate_source_run", "_validate_source_model")
RELATIVE = "_validate_non_local_source_contains_relative_paths"


def install() -> None:
    """Add the checks to MLflow's checks."""
    from mlflow.server import handlers

    for name in OF_HANDLERS:
        setattr(handlers, name, _without_paths(getattr(handlers, name)))
    setattr(handlers, RELATIVE, _of_administrators(getattr(handlers, RELATIVE)))


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
