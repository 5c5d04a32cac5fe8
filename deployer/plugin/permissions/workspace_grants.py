"""Ignores a role's `USE` on the workspace when MLflow filters a list or a search; does not import deployer.

A role's `USE` on the workspace lets its users create objects. It is not a permission on any object: if such a user
requests one object, MLflow refuses. But MLflow's filters of lists and searches count it as `READ` on each object for
which the user has no other permission (mlflow/server/auth `_role_based_read_predicate`, `filter_list_scorers`,
`_withhold_denied_guardrail_scorers`). With this module, the filters decide as for single objects. A role's `MANAGE` on
the workspace counts in both cases (`is_workspace_admin_grant`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

WORKSPACE = ("workspace", "*")


def install() -> None:
    """Replace MLflow's function."""
    from mlflow.server import auth

    auth.retention_gate = _without_workspace(auth.retention_gate)


def _without_workspace(usual: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(usual)
    def retention_gate(username: str, anchor: Any, templates: Any) -> Any:
        return usual(username, anchor, [_own(template) for template in templates])

    return retention_gate


def _own(template: Any) -> Any:
    """Return a requirement that does not fall back to a permission on the workspace."""
    kept = tuple(entry for entry in template.fallback_if_no_grant if tuple(entry)[:2] != WORKSPACE)
    return template._replace(fallback_if_no_grant=kept)
