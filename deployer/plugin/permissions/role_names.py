"""Refuses to rename a model if the permission of a role names the model; does not import deployer.

Permissions on models and prompts name their object. When an object is renamed, MLflow moves the permissions of users to
the new name (object_owners.py). The permissions of roles keep the old name. So MANAGE of a role on the new name would
apply to the renamed model, and DENY of a role on the old name would no longer apply. MLflow 3.17 requires only EDIT for
a rename. MLflow 3.18 refuses such renames (mlflow/server/auth `_reject_rename_with_named_role_grants`). This module
makes 3.17 do the same, but lets administrators rename.

A mapper event checks names, because MLflow writes models only through their mapped class.
"""

from __future__ import annotations

from typing import Any

KINDS = ("registered_model", "prompt")  # they share their names
NAMED = (
    "Cannot rename '{old}' to '{new}', because a role has a permission on one of these names. Ask an administrator to "
    "rename the model."
)


def install() -> None:
    """Check renames of models and prompts."""
    from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModel
    from sqlalchemy import event

    event.listen(SqlRegisteredModel, "before_update", _keep_named)


def _keep_named(_mapper: Any, _connection: Any, row: Any) -> None:
    from flask import has_request_context
    from mlflow.exceptions import MlflowException
    from mlflow.server import auth
    from sqlalchemy import inspect

    history = inspect(row).attrs.name.history
    if not history.has_changes() or not has_request_context() or auth.sender_is_admin():
        return
    (old,) = history.deleted
    if _has_role(auth.store, (old, row.name)):
        raise MlflowException.invalid_parameter_value(NAMED.format(old=old, new=row.name))


def _has_role(store: Any, names: tuple[str, str]) -> bool:
    """Tell whether a role that administrators have made has a permission on one of the names."""
    import sqlalchemy
    from mlflow.server.auth.db.models import SqlRole, SqlRolePermission

    query = (
        sqlalchemy.select(SqlRole.name)
        .join(SqlRolePermission, SqlRolePermission.role_id == SqlRole.id)
        .where(SqlRolePermission.resource_type.in_(KINDS), SqlRolePermission.resource_pattern.in_(names))
    )
    with store.engine.connect() as connection:
        return not all(store._is_synthetic_role_name(name) for name in connection.execute(query).scalars())
