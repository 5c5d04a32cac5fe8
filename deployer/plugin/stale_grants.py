"""Removes permissions that an earlier object of the same name has left behind; knows nothing of deployer.

MLflow keeps the permissions of single users in another database than the objects, and by name: of registered models,
prompts, MCP servers, skills, and of scorers in an experiment. MLflow removes them after it has deleted the object. A
permission that is granted at the same moment stays, and holds for the next object of that name (mlflow/server/auth
`validate_can_manage_resource` looks before, `grant_user_permission` writes after). `mlflow gc` removes no permissions,
and SQLite gives the number of a removed experiment to the next one.

So the permissions of users on a name are removed when an object takes this name: within the transaction that writes
the object, before others see the object. Permissions of roles stay. A member grants permissions on existing objects
alone, to other users, and only if the member still manages the object once the permission is written.

The removal is a mapper event of SQLAlchemy, because MLflow 3.17 and 3.18 write these tables through their mapped
classes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from types import SimpleNamespace
from typing import Any

OF_AUTH = {
    "grant_user_permission": "()",
    "validate_can_manage_resource": "()",
    "_get_request_param": "(param)",
    "_resource_dispatch_keys": "(resource_type, resource_id)",
    "authenticate_request": "()",
    "make_forbidden_response": "()",
    "sender_is_admin": "()",
}
OF_STORE = {
    "delete_grants_for_resource": "(self, resource_type, resource_pattern, *, workspace_scoped=False)",
    "revoke_user_resource_permission": "(self, username, resource_type, resource_pattern)",
    "_scorer_pattern": "(experiment_id, scorer_name)",
}
WILDCARD = "*"
VIEW = "view of grant_user_permission"

Names = Iterable[tuple[str, str]]  # types of resources, and names of permissions


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield the objects whose functions are replaced or called, and those with the signatures that they must have."""
    from mlflow.server import auth
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    for name, signature in OF_AUTH.items():
        yield auth, name, signature
    for name, signature in OF_STORE.items():
        yield SqlAlchemyStore, name, signature


def install(demand: Callable[..., None]) -> None:
    """Remove old permissions, and check new ones; call it once MLflow's application has its routes.

    `demand` refuses functions with other signatures, and functions that are not there.
    """
    from mlflow.server import app, auth

    for seam in seams():
        demand(*seam)
    usual = auth.grant_user_permission
    endpoints = [endpoint for endpoint, view in app.view_functions.items() if view is usual]
    demand(SimpleNamespace(**({VIEW: usual} if endpoints else {})), VIEW, "()")
    app.view_functions |= dict.fromkeys(endpoints, _on_own_objects(usual, auth))
    _listen(auth.store)


def _listen(store: Any) -> None:
    """Remove the permissions on a name when a row takes this name."""
    from sqlalchemy import event

    for rows, moment, names in _moments(store):
        event.listen(rows, moment, _removing(names, store))


def _moments(store: Any) -> Iterator[tuple[type, str, Callable[[Any], Names]]]:
    """Yield what takes a name: the class of the rows, the mapper event, and the names that a row takes."""
    from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModel
    from mlflow.store.tracking.dbmodels import models

    yield SqlRegisteredModel, "after_insert", _of_model
    yield SqlRegisteredModel, "after_update", _of_renamed_model
    yield models.SqlExperiment, "after_insert", lambda row: [("experiment", str(row.experiment_id))]
    yield (
        models.SqlScorer,
        "after_insert",
        lambda row: [("scorer", store._scorer_pattern(str(row.experiment_id), row.scorer_name))],
    )
    yield models.SqlMCPServer, "after_insert", lambda row: [("mcp_server", row.name)]
    if skills := getattr(models, "SqlSkill", None):  # from MLflow 3.18 on
        yield skills, "after_insert", _of_skill


def _of_model(row: Any) -> Names:
    return ("registered_model", row.name), ("prompt", row.name)


def _of_renamed_model(row: Any) -> Names:
    from sqlalchemy import inspect

    return _of_model(row) if inspect(row).attrs.name.history.has_changes() else ()


def _of_skill(row: Any) -> Names:
    return [("skill", f"@{row.organization}/{row.name}" if row.organization else row.name)]


def _removing(names: Callable[[Any], Names], store: Any) -> Callable[[Any, Any, Any], None]:
    def remove(_mapper: Any, _connection: Any, row: Any) -> None:
        for resource_type, pattern in names(row):
            if _is_named(store, resource_type, pattern):
                store.delete_grants_for_resource(resource_type, pattern)

    return remove


def _is_named(store: Any, resource_type: str, pattern: str) -> bool:
    """Tell whether a permission has the name; most names are new, and the database has one writer at a time."""
    import sqlalchemy
    from mlflow.server.auth.db.models import SqlRolePermission as Permission

    same = (Permission.resource_type == resource_type, Permission.resource_pattern == pattern)
    with store.engine.connect() as connection:
        return connection.execute(sqlalchemy.select(Permission.id).where(*same).limit(1)).first() is not None


def _on_own_objects(grant: Callable[[], Any], auth: Any) -> Callable[[], Any]:
    """Have a member grant permissions to others, on objects that exist and that the member still manages afterwards."""
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
    """Look an object up; MLflow's error says that there is none."""
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
