"""Keeps the permissions on a scorer until its last version is deleted; does not import deployer.

MLflow removes all permissions on a scorer even if a request deletes only one of its versions (mlflow/server/auth
`delete_scorer_permissions_cascade`). The owner of the scorer can then neither read nor delete the other versions.

The creator of a scorer gets the permission in object_owners.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from types import SimpleNamespace
from typing import Any

CASCADE = "delete_scorer_permissions_cascade"
VERSIONS = ("list_scorer_versions", "(self, experiment_id, name)")


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield (owner, function name, required signature) for each MLflow function that is replaced or called."""
    from mlflow.server import auth
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    yield auth, CASCADE, "(resp)"
    yield SqlAlchemyStore, *VERSIONS


def install(demand: Callable[..., None]) -> None:
    """Put the condition before MLflow's removal; `demand` rejects another signature."""
    from mlflow.server import auth

    for seam in seams():
        demand(*seam)
    usual, handlers = auth.delete_scorer_permissions_cascade, auth.AFTER_REQUEST_HANDLERS
    routes = [route for route, handler in handlers.items() if handler is usual]
    demand(SimpleNamespace(**({CASCADE: usual} if routes else {})), CASCADE, "(resp)")
    handlers.update(dict.fromkeys(routes, _of_last_version(usual, auth)))


def _of_last_version(remove: Callable[[Any], None], auth: Any) -> Callable[[Any], None]:
    from mlflow.protos.service_pb2 import DeleteScorer

    @wraps(remove)
    def delete_scorer_permissions_cascade(resp: Any) -> None:
        deleted = auth._get_request_message(DeleteScorer())
        if not (deleted.HasField("version") and _has_versions(auth, deleted.experiment_id, deleted.name)):
            remove(resp)

    return delete_scorer_permissions_cascade


def _has_versions(auth: Any, experiment: str, name: str) -> bool:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    try:
        return bool(auth._get_tracking_store().list_scorer_versions(experiment, name))
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        return False
