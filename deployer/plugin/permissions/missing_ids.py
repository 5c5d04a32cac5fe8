"""Refuses requests without an experiment or run, if non-admin users send them; does not import deployer.

If a request has no experiment number, MLflow's tracking store uses experiment 0 (`SqlAlchemyStore._get_experiment`).
MLflow's permission checks do not check experiment 0 in this case:

- For GraphQL, MLflow checks no permission if a request names no object (mlflow/server/auth
  `GraphQLAuthorizationMiddleware._check_authorization`).
- For REST, MLflow checks the permission on an experiment with an empty number.

So a denial on experiment 0 does not apply. Administrators may still omit the number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from ..auth.request_cache import Memory, current

RUN = ("run_id", "run_uuid")
# GraphQL fields that return a single object, and the arguments that name the object
NAMED_BY = {"mlflowGetExperiment": ("experiment_id",), "mlflowGetRun": RUN, "mlflowListArtifacts": RUN}
UNNAMED = "The request must name an experiment."


def names_object(field_name: str, arguments: Mapping[str, Any]) -> bool:
    """Tell whether a GraphQL field names its object; a field that is not in NAMED_BY needs no name."""
    names = NAMED_BY.get(field_name)
    given = arguments.get("input")
    return names is None or any(getattr(given, name, None) for name in names)


def install() -> None:
    """Require requests of non-admin users to name the experiment or run."""
    from mlflow.server import auth
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    middleware = auth.GraphQLAuthorizationMiddleware
    middleware._check_authorization = _of_named_objects(middleware._check_authorization)
    SqlAlchemyStore._get_experiment = _of_named_experiments(SqlAlchemyStore._get_experiment)


def _of_named_objects(check: Callable[..., bool]) -> Callable[..., bool]:
    @wraps(check)
    def check_authorization(self: Any, field_name: str, args: dict[str, Any], username: str) -> bool:
        return names_object(field_name, args) and check(self, field_name, args, username)

    return check_authorization


def _of_named_experiments(get: Callable[..., Any]) -> Callable[..., Any]:
    from mlflow.exceptions import MlflowException

    @wraps(get)
    def get_experiment(self: Any, session: Any, experiment_id: Any, view_type: Any, eager: bool = False) -> Any:
        if experiment_id in (None, "") and _is_member(current.get()):
            raise MlflowException.invalid_parameter_value(UNNAMED)
        return get(self, session, experiment_id, view_type, eager)

    return get_experiment


def _is_member(sender: Memory | None) -> bool:
    """Tell whether the current request comes from anybody but an administrator; False outside a request."""
    from mlflow.server import auth

    return sender is not None and not (sender.accepted and auth.store.get_user(sender.username).is_admin)
