"""Keeps members away from the experiments in which MLflow's gateway stores requests; does not import deployer.

A gateway endpoint with usage tracking stores each request, its answer and the name of its user in the experiment
`gateway/NAME`. MLflow creates this experiment together with the endpoint, or uses an existing experiment of that name
(mlflow/store/tracking/gateway/sqlalchemy_mixin.py `_get_or_create_experiment_id`). So a member who has taken the name
before would read the requests of all users.

With this module, only administrators can give an experiment a name that begins with `gateway/`. MLflow can still create
these experiments, because only administrators can create endpoints (routes.tsv). A member may have taken a name before
this module was in use. With this module, MLflow does not use such an experiment while a member has a personal
permission on it.

A mapper event checks names, because MLflow 3.17 and 3.18 write experiments only through their mapped class. The check
looks only at requests that Flask serves, because no other route writes names of experiments.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

PREFIX = "gateway/"
EXPERIMENT = "experiment"
NOTHING = ("DENY", "NO_PERMISSIONS")
RESERVED = (
    f"Only administrators may use names of experiments that begin with '{PREFIX}': MLflow stores the requests of "
    "gateway endpoints there. Choose another name."
)
TAKEN = (
    "The experiment '{name}' exists, and users have permissions on it: {users}. They would read the requests of all "
    "users of the endpoint. Rename the experiment, revoke these permissions, or set 'experiment_id' of the endpoint."
)


def install() -> None:
    """Check the names of experiments, and the experiments that the gateway uses."""
    from mlflow.store.tracking.dbmodels.models import SqlExperiment
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import event

    for moment in ("before_insert", "before_update"):
        event.listen(SqlExperiment, moment, _keep_reserved)
    SqlAlchemyStore._get_or_create_experiment_id = _of_no_member(SqlAlchemyStore._get_or_create_experiment_id)


def _keep_reserved(_mapper: Any, _connection: Any, experiment: Any) -> None:
    """Refuse to give an experiment a reserved name, unless an administrator sent the request."""
    from flask import has_request_context
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
    from mlflow.server import auth
    from sqlalchemy import inspect

    if not str(experiment.name).startswith(PREFIX) or not inspect(experiment).attrs.name.history.has_changes():
        return
    if has_request_context() and not auth.sender_is_admin():
        raise MlflowException(RESERVED, PERMISSION_DENIED)


def _of_no_member(original: Callable[..., str]) -> Callable[..., str]:
    """Refuse to store the requests of an endpoint in an experiment on which a member has a permission."""
    from mlflow.exceptions import MlflowException
    from mlflow.server import auth

    @wraps(original)
    def get_or_create(self: Any, experiment_name: str, tags: Any = None) -> str:
        experiment_id = original(self, experiment_name, tags)
        if users := _members_with(auth.store, experiment_id):
            raise MlflowException.invalid_parameter_value(TAKEN.format(name=experiment_name, users=", ".join(users)))
        return experiment_id

    return get_or_create


def _members_with(store: Any, experiment_id: str) -> list[str]:
    """Return the names of members with a personal permission on an experiment; permissions of roles do not count.

    Only administrators can give permissions to roles.
    """
    import sqlalchemy
    from mlflow.server.auth.db.models import SqlRole, SqlRolePermission, SqlUser, SqlUserRoleAssignment

    query = (
        sqlalchemy.select(SqlUser.username, SqlRole.name)
        .join(SqlUserRoleAssignment, SqlUserRoleAssignment.user_id == SqlUser.id)
        .join(SqlRole, SqlRole.id == SqlUserRoleAssignment.role_id)
        .join(SqlRolePermission, SqlRolePermission.role_id == SqlRole.id)
        .where(
            SqlRolePermission.resource_type == EXPERIMENT,
            SqlRolePermission.resource_pattern == str(experiment_id),
            SqlRolePermission.permission.notin_(NOTHING),
            SqlUser.is_admin.is_not(True),
        )
    )
    with store.engine.connect() as connection:
        found = connection.execute(query).all()
    return sorted({user for user, role in found if store._is_synthetic_role_name(role)})
