"""Treats all spellings of an experiment number as the same number; does not import deployer.

MLflow 3.17 compares permissions with the text in a request, but its store converts the text with `int`. A denial on
experiment 2 therefore does not apply to `02` or `+2`, and a denial on `02` does not apply to experiment 2. For the
permission check, the artifact path `./2/...` names no experiment, and the server's default permission applies. For the
store, the same path names the files of experiment 2. MLflow 3.18 compares numbers and removes `.` from paths
(mlflow/server/auth `canonical_resource_id`, `_without_dot_segments`). This module makes 3.17 do the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

EXPERIMENT, SCORER = "experiment", "scorer"


def canonical(resource_type: str, resource_id: str | None) -> str | None:
    """Return an identifier as MLflow's store writes it; a scorer's identifier is EXPERIMENT/NAME."""
    if resource_id is None or resource_type not in (EXPERIMENT, SCORER):
        return resource_id
    number, slash, name = str(resource_id).partition("/")
    try:
        return f"{int(number)}{slash}{name}"
    except ValueError:
        return resource_id


def without_dots(path: str) -> str:
    """Return a path without its `.` segments."""
    return "/".join(segment for segment in path.split("/") if segment != ".")


def is_needed() -> bool:
    """Tell whether this MLflow compares identifiers as text."""
    from mlflow.server.auth import permissions

    return not hasattr(permissions, "canonical_resource_id")


def install() -> None:
    """Compare numbers and remove `.` from paths, unless MLflow does so itself."""
    from mlflow.server import auth
    from mlflow.server.auth import requirements

    if not is_needed():
        return
    requirements.matches = _canonical(requirements.matches)
    auth._canonical_artifact_proxy_path = _without_dots(auth._canonical_artifact_proxy_path)


def _canonical(original: Callable[..., bool]) -> Callable[..., bool]:
    @wraps(original)
    def matches(resource_pattern: str, resource_type: str, resource_id: str | None) -> bool:
        pattern = canonical(resource_type, resource_pattern)
        return original(str(pattern), resource_type, canonical(resource_type, resource_id))

    return matches


def _without_dots(original: Callable[[str], str | None]) -> Callable[[str], str | None]:
    @wraps(original)
    def canonical_path(artifact_path: str) -> str | None:
        path = original(artifact_path)
        return None if path is None else without_dots(path)

    return canonical_path
