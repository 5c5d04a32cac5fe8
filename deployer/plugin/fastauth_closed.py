"""Keeps closed what MLflow opens where it gets no answer about permissions; knows nothing of deployer.

Three of its ways end so (mlflow/server): `auth.filter_experiment_ids` gives back the list that it was given where a
look-up ends with a RuntimeError or an AttributeError, which it takes for a server without logins;
`handlers.search_runs_impl` goes on without a filter where one ends with an ImportError; and
`handlers._get_graphql_auth_middleware` returns no middleware, whatever goes wrong. Here each ends with an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

OF_STORE = ("authenticate_user", "get_user", "list_grants")
OF_AUTH = {
    "_role_based_read_predicate": "(username, resource_type, also_require=())",
    "filter_experiment_ids": "(experiment_ids)",
}
OF_GRAPHQL = ("_get_graphql_auth_middleware", "()")


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield the objects whose functions are replaced, and those with the signatures that they must have."""
    from mlflow.server import auth, handlers

    for name, signature in OF_AUTH.items():
        yield auth, name, signature
    yield handlers, *OF_GRAPHQL


def install() -> None:
    """Put it around MLflow's own ways, and around what was put in their place."""
    from mlflow.server import auth, handlers
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    for name in OF_STORE:
        setattr(SqlAlchemyStore, name, failing_as_mlflow_does(getattr(SqlAlchemyStore, name)))
    auth._role_based_read_predicate = failing_as_mlflow_does(auth._role_based_read_predicate)
    auth.filter_experiment_ids = failing_as_mlflow_does(_filtered(auth.filter_experiment_ids, auth))
    graphql = _with_permissions(handlers._get_graphql_auth_middleware)
    handlers._get_graphql_auth_middleware = failing_as_mlflow_does(graphql)


def failing_as_mlflow_does(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a look-up end with no other error than those of MLflow's own, for which its callers are ready."""
    from mlflow.exceptions import MlflowException

    @wraps(function)
    def looking_up(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except MlflowException:
            raise
        except Exception as error:
            raise MlflowException(f"A look-up of logins has failed: {type(error).__name__}") from error

    return looking_up


def _filtered(original: Callable[..., list[str]], auth: Any) -> Callable[..., list[str]]:
    @wraps(original)
    def filter_experiment_ids(experiment_ids: list[str]) -> list[str]:
        found = original(experiment_ids)
        if found is experiment_ids and not auth.sender_is_admin():
            raise PermissionError("the experiments of a search could not be filtered")
        return found

    return filter_experiment_ids


def _with_permissions(original: Callable[[], list[Any]]) -> Callable[[], list[Any]]:
    from mlflow.environment_variables import MLFLOW_SERVER_ENABLE_GRAPHQL_AUTH

    @wraps(original)
    def graphql_auth_middleware() -> list[Any]:
        found = original()
        if not found and MLFLOW_SERVER_ENABLE_GRAPHQL_AUTH.get():
            raise PermissionError("GraphQL knows no permissions")
        return found

    return graphql_auth_middleware
