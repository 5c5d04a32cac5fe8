"""Refuses requests of members that name no experiment or run; knows nothing of deployer.

MLflow's tracking store takes a missing number of an experiment for experiment 0 (`SqlAlchemyStore._get_experiment`).
MLflow's permission checks do not. GraphQL asks for no permission where a request names no object (mlflow/server/auth
`GraphQLAuthorizationMiddleware._check_authorization`). REST asks for the permission on an experiment with an empty
number, and a denial on experiment 0 does not hold there. Administrators may still leave the number out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import wraps
from typing import Any

STORE = ("_get_experiment", "(self, session, experiment_id, view_type, eager=False)")
GRAPHQL = ("_check_authorization", "(self, field_name, args, username)")
RUN = ("run_id", "run_uuid")
# fields of GraphQL that return a single object, and what names the object
NAMED_BY = {"mlflowGetExperiment": ("experiment_id",), "mlflowGetRun": RUN, "mlflowListArtifacts": RUN}
UNNAMED = "The request must name an experiment."


def names_object(field_name: str, arguments: Mapping[str, Any]) -> bool:
    """Tell whether a field of GraphQL names its object; other fields need no name."""
    names = NAMED_BY.get(field_name)
    given = arguments.get("input")
    return names is None or any(getattr(given, name, None) for name in names)


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield the objects whose functions are replaced, and those with the signatures that they must have."""
    from mlflow.server import auth
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    yield SqlAlchemyStore, *STORE
    yield auth.GraphQLAuthorizationMiddleware, *GRAPHQL


def install(current: ContextVar[Any], demand: Callable[..., None]) -> None:
    """Demand a name from members.

    `current` holds who sent the request that is served (`fastauth_memory.Memory`); `demand` refuses other signatures.
    """
    from mlflow.server import auth
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for seam in seams():
        demand(*seam)
    middleware = auth.GraphQLAuthorizationMiddleware
    middleware._check_authorization = _of_named_objects(middleware._check_authorization)
    SqlAlchemyStore._get_experiment = _of_named_experiments(SqlAlchemyStore._get_experiment, current)


def _of_named_objects(check: Callable[..., bool]) -> Callable[..., bool]:
    @wraps(check)
    def check_authorization(self: Any, field_name: str, args: dict[str, Any], username: str) -> bool:
        return names_object(field_name, args) and check(self, field_name, args, username)

    return check_authorization


def _of_named_experiments(get: Callable[..., Any], current: ContextVar[Any]) -> Callable[..., Any]:
    from mlflow.exceptions import MlflowException

    @wraps(get)
    def get_experiment(self: Any, session: Any, experiment_id: Any, view_type: Any, eager: bool = False) -> Any:
        if experiment_id in (None, "") and _is_member(current.get()):
            raise MlflowException.invalid_parameter_value(UNNAMED)
        return get(self, session, experiment_id, view_type, eager)

    return get_experiment


def _is_member(sender: Any | None) -> bool:
    """Tell whether a member has sent the request that is served; work outside a request has no sender."""
    from mlflow.server import auth

    return sender is not None and not (sender.accepted and auth.store.get_user(sender.username).is_admin)
