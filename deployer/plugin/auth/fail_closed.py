"""Keeps access closed when one of MLflow's permission look-ups fails; does not import deployer.

Three functions in mlflow/server grant access in that case:

- `auth.filter_experiment_ids` returns its argument unchanged if a look-up raises RuntimeError or AttributeError. It
  assumes that such an error means that the server has no logins.
- `handlers.search_runs_impl` searches without a filter if a look-up raises ImportError.
- `handlers._get_graphql_auth_middleware` returns no middleware if anything raises an error.

With this module, each of them ends with an error.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def install() -> None:
    """Wrap MLflow's functions."""
    from mlflow.server import auth, handlers

    auth.filter_experiment_ids = _or_an_error(_filtered(auth.filter_experiment_ids, auth))
    handlers._get_graphql_auth_middleware = _or_an_error(_with_permissions(handlers._get_graphql_auth_middleware))


def _or_an_error(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn every error into one of MLflow's own errors, which becomes the response to the request."""
    from mlflow.exceptions import MlflowException

    @wraps(function)
    def looking_up(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except MlflowException:
            raise
        except Exception as error:
            raise MlflowException(f"A look-up of permissions has failed: {type(error).__name__}") from error

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
