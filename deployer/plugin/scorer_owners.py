"""Lets a user manage a scorer only if the user has created the scorer; does not import deployer.

A user who may edit an experiment may register a version of every scorer in the experiment. MLflow then grants the user
MANAGE on the scorer, even if another user has created the scorer. The grant outlasts the permission on the experiment
(mlflow/server/auth `set_can_manage_scorer_permission`). With this module, only the first version brings the grant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

GRANT = ("set_can_manage_scorer_permission", "(resp)")
FIRST = 1  # SqlAlchemyStore.register_scorer counts versions from 1


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield (owner, function name, required signature) for the MLflow function that is replaced."""
    from mlflow.server import auth

    yield auth, *GRANT


def install(demand: Callable[..., None]) -> None:
    """Put the condition before MLflow's grant; `demand` rejects another signature."""
    from mlflow.server import auth

    for seam in seams():
        demand(*seam)
    usual = auth.set_can_manage_scorer_permission
    conditional = _of_first_version(usual)
    for route, handler in auth.AFTER_REQUEST_HANDLERS.items():
        if handler is usual:
            auth.AFTER_REQUEST_HANDLERS[route] = conditional


def _of_first_version(grant: Callable[[Any], None]) -> Callable[[Any], None]:
    @wraps(grant)
    def set_can_manage_scorer_permission(resp: Any) -> None:
        if resp.json.get("version") == FIRST:
            grant(resp)

    return set_can_manage_scorer_permission
