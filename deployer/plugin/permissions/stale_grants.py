"""Removes permissions that an earlier object of the same name has left behind; does not import deployer.

MLflow stores the permissions of users in one database and the objects in another. A permission on a registered model, a
prompt, an MCP server, a skill or a scorer in an experiment identifies the object by its name. MLflow deletes an object
first, and its permissions afterwards. MLflow checks the object (mlflow/server/auth `validate_can_manage_resource`)
before it writes a permission (`grant_user_permission`). If the object is deleted in between, the permission remains and
applies to the next object of that name. In addition, `mlflow gc` removes no permissions, and SQLite gives the number of
a removed experiment to the next one.

So object_owners.py calls this module to remove the permissions of users on a name when an object takes this name. This
happens within the transaction that writes the object, before others see the object. Permissions of roles stay.

With this module, a non-admin user may grant permissions only on existing objects, and only to other users. If the
sender of the request no longer manages the object after the permission is written, the permission is revoked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from ..seams import UnknownSeam

WILDCARD = "*"

Names = Iterable[tuple[str, str]]  # (resource type, name in the permission)


def install() -> None:
    """Check new permissions; call this once MLflow's application has its routes.

    Raises:
        UnknownSeam: no route of MLflow's application gives permissions.
    """
    from mlflow.server import app, auth

    usual = auth.grant_user_permission
    endpoints = [endpoint for endpoint, view in app.view_functions.items() if view is usual]
    if not endpoints:
        raise UnknownSeam("there is no view of grant_user_permission()")
    app.view_functions |= dict.fromkeys(endpoints, _on_own_objects(usual, auth))


def remove(store: Any, names: Names) -> None:
    """Remove the users' permissions on these names.

    Call this within the transaction that writes an object of these names. `store` is MLflow's store of permissions.
    """
    for resource_type, pattern in names:
        if _is_named(store, resource_type, pattern):
            store.delete_grants_for_resource(resource_type, pattern)


def _is_named(store: Any, resource_type: str, pattern: str) -> bool:
    """Tell whether a permission has the name.

    This read avoids most writes: most names are new, and the database has one writer at a time.
    """
    import sqlalchemy
    from mlflow.server.auth.db.models import SqlRolePermission as Permission

    same = (Permission.resource_type == resource_type, Permission.resource_pattern == pattern)
    with store.engine.connect() as connection:
        return connection.execute(sqlalchemy.select(Permission.id).where(*same).limit(1)).first() is not None


def _on_own_objects(grant: Callable[[], Any], auth: Any) -> Callable[[], Any]:
    """Let a non-admin user grant permissions only to others and on existing objects.

    If the user no longer manages the object after the permission is written, revoke the permission.
    """
    from mlflow.server.handlers import catch_mlflow_exception

    @wraps(grant)
    def grant_user_permission() -> Any:
        if auth.sender_is_admin():
            return grant()
        username, resource_type, name = map(auth._get_request_param, ("username", "resource_type", "resource_id"))
        if username == auth.authenticate_request().username:
            return auth.make_forbidden_response()
        _find(auth, resource_type, name)
        answer = grant()
        if answer.status_code < 400 and not _still_manages(auth, resource_type, name):
            auth.store.revoke_user_resource_permission(username, resource_type, name)
            return auth.make_forbidden_response()
        return answer

    checked: Callable[[], Any] = catch_mlflow_exception(grant_user_permission)
    return checked


def _find(auth: Any, resource_type: str, name: str) -> None:
    """Look up an object.

    Raises:
        MlflowException: there is no such object.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST

    found = None if name == WILDCARD else auth._resource_dispatch_keys(resource_type, name)
    if found is not None and found.workspace_fetcher(found.workspace_lookup_id) is None:
        raise MlflowException(f"There is no {resource_type} '{name}'.", RESOURCE_DOES_NOT_EXIST)


def _still_manages(auth: Any, resource_type: str, name: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        _find(auth, resource_type, name)
        return bool(auth.validate_can_manage_resource())
    except MlflowException:
        return False
