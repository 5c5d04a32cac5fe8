"""Lets a member manage a scorer only if the member has made the scorer; knows nothing of deployer.

Who may edit an experiment may register a version of every scorer in the experiment. MLflow then grants MANAGE on the
scorer, also where another user has made the scorer, and the grant outlasts the permission on the experiment
(mlflow/server/auth `set_can_manage_scorer_permission`). Here the grant comes with the first version alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

GRANT = ("set_can_manage_scorer_permission", "(resp)")
FIRST = 1  # SqlAlchemyStore.register_scorer counts from here


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield the object whose function is replaced, and the function with the signature that it must have."""
    from mlflow.server import auth

    yield auth, *GRANT


def install(demand: Callable[..., None]) -> None:
    """Put the condition before MLflow's grant; `demand` refuses other signatures."""
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
