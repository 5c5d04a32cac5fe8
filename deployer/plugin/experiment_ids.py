"""Judges each spelling of an experiment's number as the number; knows nothing of deployer.

MLflow 3.17 compares permissions with the text of a request, and its store reads the text with `int`. A denial on
experiment 2 is then no denial on `02` or `+2`. The path `./2/...` of an artifact names no experiment to the permission
check, which asks for the server's default permission, and names the files of experiment 2 to the store. MLflow 3.18
compares numbers and leaves out `.` in paths (mlflow/server/auth `canonical_resource_id`, `_without_dot_segments`). Here
3.17 does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

MATCHES = ("matches", "(resource_pattern, resource_type, resource_id)")
PATH = ("_canonical_artifact_proxy_path", "(artifact_path)")
EXPERIMENT, SCORER = "experiment", "scorer"


def canonical(resource_type: str, resource_id: str | None) -> str | None:
    """Return an identifier as MLflow's store writes the identifier; scorers have the experiment before a slash."""
    if resource_id is None or resource_type not in (EXPERIMENT, SCORER):
        return resource_id
    number, slash, name = str(resource_id).partition("/")
    try:
        return f"{int(number)}{slash}{name}"
    except ValueError:
        return resource_id


def without_dots(path: str) -> str:
    """Return a path without the segments that name the folder itself."""
    return "/".join(segment for segment in path.split("/") if segment != ".")


def is_needed() -> bool:
    """Tell whether this MLflow compares texts."""
    from mlflow.server.auth import permissions

    return not hasattr(permissions, "canonical_resource_id")


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield the objects whose functions are replaced, and those with the signatures that they must have."""
    from mlflow.server import auth
    from mlflow.server.auth import requirements

    yield requirements, *MATCHES
    yield auth, *PATH


def install(demand: Callable[..., None]) -> None:
    """Compare numbers, and leave dots out of paths, unless MLflow does so itself; `demand` refuses other signatures."""
    from mlflow.server import auth
    from mlflow.server.auth import requirements

    if not is_needed():
        return
    for seam in seams():
        demand(*seam)
    requirements.matches = _canonical(requirements.matches)
    auth._canonical_artifact_proxy_path = _without_dots(auth._canonical_artifact_proxy_path)


def _canonical(original: Callable[..., bool]) -> Callable[..., bool]:
    @wraps(original)
    def matches(resource_pattern: str, resource_type: str, resource_id: str | None) -> bool:
        return original(resource_pattern, resource_type, canonical(resource_type, resource_id))

    return matches


def _without_dots(original: Callable[[str], str | None]) -> Callable[[str], str | None]:
    @wraps(original)
    def canonical_path(artifact_path: str) -> str | None:
        path = original(artifact_path)
        return None if path is None else without_dots(path)

    return canonical_path
