"""Refuses artifact paths without an experiment, if non-admin users send them; does not import deployer.

The path of an artifact on the server begins with the number of its experiment, and MLflow checks the permission on that
experiment. For any other path, including the empty path and `.`, MLflow applies the server's default permission
(mlflow/server/auth `_permission_for_artifact_target`, 3.17 `_get_proxy_artifact_permission`). Such a path may
name the parent folder of all experiments. With the default permission MANAGE, a user could delete or list the files of
experiments to which the user is denied access.

An administrator may give an experiment another location, such as `mlflow-artifacts:/team`, or a folder of another
experiment. This module finds each experiment whose location is the path, contains the path, or lies below the path. The
user needs the permission on all of these experiments, and on the run, trace or logged model to which the rest of the
path belongs. From 3.18 on, MLflow checks the paths of skills itself. In all cases, MLflow's own check must also allow
the request.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from ..auth.request_cache import current

OF_FASTAPI = "/mlflow-artifacts/artifacts/"  # FastAPI serves GET and PUT below this path, Flask the rest
SCHEME = "mlflow-artifacts"
SKILLS = "_parse_artifact_auth_target"  # not in MLflow 3.17

Segments = Sequence[str]


def segments_of(path: str) -> Segments:
    """Return the segments of a path, without empty segments and `.`."""
    return [segment for segment in path.split("/") if segment not in ("", ".")]


def names_experiment(segments: Segments) -> bool:
    """Tell whether the first segment is an experiment number in MLflow's own spelling."""
    first = segments[0] if segments else ""
    return first.isascii() and first.isdecimal() and (first == "0" or not first.startswith("0"))


def owners(segments: Segments, locations: Iterable[tuple[int, str]]) -> list[str]:
    """Return the experiments whose location contains the path or lies within it, as paths with the usual location.

    For the path `team/RUN/artifacts` and the location `mlflow-artifacts:/team` of experiment 3, this is
    `3/RUN/artifacts`. `locations` has the number and the location of each experiment.
    """
    found = []
    for number, location in locations:
        parts = urlsplit(location)
        folder = segments_of(parts.path)
        shorter = min(len(folder), len(segments))
        if parts.scheme == SCHEME and folder[:shorter] == list(segments[:shorter]):
            found.append("/".join([str(number), *segments[len(folder) :]]))
    return found


def install() -> None:
    """Install the check before MLflow's own check; MLflow runs neither for administrators."""
    from mlflow.server import auth

    of_flask, of_fastapi = auth._authorize_flask_artifact_proxy, auth._authorize_fastapi_artifact_proxy

    @wraps(of_flask)
    def authorize_flask(action: str) -> bool:
        sender = current.get()
        permitted = sender is not None and _may_use(auth, auth._artifact_proxy_path(), sender.username, action)
        return permitted and bool(of_flask(action))

    @wraps(of_fastapi)
    def authorize_fastapi(path: str, username: str, query_path: str | None, action: str) -> bool:
        permitted = _may_use(auth, path.partition(OF_FASTAPI)[2], username, action)
        return permitted and bool(of_fastapi(path, username, query_path, action))

    auth._authorize_flask_artifact_proxy = authorize_flask
    auth._authorize_fastapi_artifact_proxy = authorize_fastapi


def _may_use(auth: Any, path: str | None, username: str, action: str) -> bool:
    canonical = auth._canonical_artifact_proxy_path(path) if path else None
    segments = segments_of(canonical or "")
    if not segments:
        return False
    usual = owners(segments, _locations(auth._get_tracking_store()))
    if not usual and not names_experiment(segments) and not _is_skill(auth, path):
        return False
    return all(_may_use_usual(auth, path, username, action) for path in usual)


def _may_use_usual(auth: Any, path: str, username: str, action: str) -> bool:
    """Ask MLflow's own check about a path that begins with the number of an experiment."""

    def permission() -> Any:
        return auth._get_experiment_permission(path.partition("/")[0], username)

    child = auth._artifact_proxy_child(path, action)
    return bool(auth._authorize_artifact_proxy_resolved(child, username, action, permission))


def _is_skill(auth: Any, path: str | None) -> bool:
    target = getattr(auth, SKILLS)(path) if hasattr(auth, SKILLS) else None
    return target is not None and (target.skill is not None or target.skill_namespace)


def _locations(store: Any) -> list[tuple[int, str]]:
    """Return (number, location) of experiments for which an administrator chose a location in the server's storage."""
    from mlflow.store.tracking.dbmodels.models import SqlExperiment
    from sqlalchemy import String, cast, select

    number, location = SqlExperiment.experiment_id, SqlExperiment.artifact_location
    usual = location == SCHEME + ":/" + cast(number, String)
    with store.ManagedSessionMaker(read_only=True) as session:
        found = session.execute(select(number, location).where(location.startswith(SCHEME), ~usual))
        return [(row[0], row[1]) for row in found]
