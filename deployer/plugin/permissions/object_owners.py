"""Adds and removes the permissions on an object before the object's transaction ends; does not import deployer.

MLflow gives the creator of an object the permission MANAGE on the object's name, after the object is written
(mlflow/server/auth `set_can_manage_*_permission`, `_mcp_server_after_create`, `_skill_after_create`). In between,
somebody may delete the object, and another user may create an object of the same name. The first creator then gets
MANAGE on the other user's object. MLflow also moves permissions only after a model has a new name
(`rename_registered_model_permission`). It removes permissions only after an object is deleted, and may then remove the
permissions of the next object (`delete_*_permission`, `_mcp_server_after_delete`, `_skill_after_delete`).

With this module, permissions are written, moved and removed before the transaction ends. When an object takes a name,
the permissions that earlier objects of this name left behind are removed (stale_grants.py). Then the sender of the
request gets MANAGE. The names are in unique indexes, and the numbers of experiments are primary keys. So until the
transaction ends, no other transaction can take the name: SQLite has one writer at a time, and PostgreSQL makes the
others wait.

The permissions have a transaction of their own, and often a database of their own. The two transactions cannot be
committed as one:

- The permissions are written first, so nobody sees the object without the permission of its creator.
- If the object's transaction then fails, a permission may remain on a name that no object has. This permission is
  removed when an object takes the name. After a failed deletion or renaming, the users' permissions on the object are
  lost. To make this rare, this module removes permissions only after the rows of the object are deleted, within the
  same transaction, and moves permissions only right before the commit.
- If the connection to the database of the objects breaks while a permission is written, the name becomes free too
  early. If another user takes the name in this moment, the sender gets MANAGE on the other user's object. With two
  databases, this cannot be excluded.

When any version of a scorer is deleted, MLflow removes all permissions on the scorer. MLflow also gives MANAGE to each
user who registers a further version, and every editor of the experiment may do that. With this module, a scorer keeps
its permissions as long as it has a version, and a further version gives no permission.

An experiment gets an owner only if the request's purpose is to create an experiment. Experiments that MLflow's gateway
creates get no owner.

SQLAlchemy mapper events trigger all this, because MLflow 3.17 and 3.18 write these tables only through their mapped
classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import wraps
from typing import Any

from ..auth.request_cache import current
from . import stale_grants

OF_EXPERIMENTS = "set_can_manage_experiment_permission"
GIVING = (
    OF_EXPERIMENTS,
    "set_can_manage_registered_model_permission",
    "set_can_manage_scorer_permission",
    "_mcp_server_after_create",
)
REMOVING = (
    "delete_can_manage_registered_model_permission",
    "delete_scorer_permissions_cascade",
    "_mcp_server_after_delete",
)
GIVING_SKILLS, REMOVING_SKILLS = "_skill_after_create", "_skill_after_delete"  # from MLflow 3.18 on
RENAMING = "rename_registered_model_permission"
EXPERIMENT = "experiment"
MODEL, PROMPT = "registered_model", "prompt"  # they share their names

Names = Sequence[tuple[str, str]]  # (resource type, name in the permission); first the one that the creator manages
NamesOf = Callable[[Any, Any], Names]  # (connection, row) -> the names of the object that the row creates or removes
Listener = Callable[[Any, Any, Any], None]


def install() -> None:
    """Write permissions together with objects, and keep MLflow from doing so later."""
    from mlflow.server import auth
    from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModel
    from sqlalchemy import event

    for name in GIVING:
        _replace(auth, name, _unless_given(getattr(auth, name)))
    for name in REMOVING:
        _replace(auth, name, _nothing)
    _replace(auth, RENAMING, _redacting(auth))
    if hasattr(auth, GIVING_SKILLS):  # these are in no table: MLflow looks up the functions when it needs them
        setattr(auth, GIVING_SKILLS, _unless_given(getattr(auth, GIVING_SKILLS)))
        setattr(auth, REMOVING_SKILLS, _nothing)
    for rows, names in _kinds(auth):
        event.listen(rows, "after_insert", _giving(names, auth))
        event.listen(rows, "after_delete", _ending(names, auth.store))
    event.listen(SqlRegisteredModel, "after_update", _moving(auth.store))


def _replace(auth: Any, name: str, by: Callable[..., None]) -> None:
    """Replace a handler that MLflow runs after a request, in MLflow's tables and in its module.

    Both must be replaced, because MLflow compares the entries of the tables with the function in the module.
    """
    usual = getattr(auth, name)
    for table in (auth.AFTER_REQUEST_HANDLERS, auth.FASTAPI_AFTER_REQUEST_HANDLERS):
        routes = [route for route, handler in table.items() if handler is usual]
        table.update(dict.fromkeys(routes, by))
    setattr(auth, name, by)


def _nothing(*_arguments: Any) -> None:
    """Do nothing: the permissions have ended with the object."""


def _sender() -> str | None:
    """Return the user name of the current request, or None if nobody has logged in by name and password."""
    memory = current.get()
    return memory.username if memory is not None and memory.accepted else None


def _unless_given(usual: Callable[..., None]) -> Callable[..., None]:
    """Let MLflow grant the permission if the sender is unknown here, as with a custom `authorization_function`."""

    @wraps(usual)
    def after_request(*arguments: Any) -> None:
        if _sender() is None:
            usual(*arguments)

    return after_request


def _redacting(auth: Any) -> Callable[[Any], None]:
    """Return the part of MLflow's function that redacts the response to a rename."""
    from mlflow.protos.model_registry_pb2 import RenameRegisteredModel

    @wraps(auth.rename_registered_model_permission)
    def after_request(resp: Any) -> None:
        auth._redact_registered_model_response(resp, RenameRegisteredModel.Response())

    return after_request


def _kinds(auth: Any) -> Iterator[tuple[type, NamesOf]]:
    """Yield a class and a function for each kind of object.

    Inserting a row of the class may create an object, and deleting a row may remove one. The function returns the names
    of this object.
    """
    from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModel
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import inspect, select

    def of_model(_connection: Any, row: Any) -> Names:
        is_prompt = auth._prompt_marker_in_tags(row.registered_model_tags) is True
        return [(kind, row.name) for kind in ((PROMPT, MODEL) if is_prompt else (MODEL, PROMPT))]

    def of_scorer(connection: Any, row: Any) -> Names:
        version = models.SqlScorerVersion
        others = (version.scorer_id == row.scorer_id, version.scorer_version != row.scorer_version)
        if connection.execute(select(version.scorer_version).where(*others).limit(1)).first():
            return []
        scorer = inspect(row).session.get(models.SqlScorer, row.scorer_id)
        return [("scorer", auth.store._scorer_pattern(str(scorer.experiment_id), scorer.scorer_name))]

    yield SqlRegisteredModel, of_model
    yield models.SqlExperiment, lambda _, row: [(EXPERIMENT, str(row.experiment_id))]
    yield models.SqlScorerVersion, of_scorer
    yield models.SqlMCPServer, lambda _, row: [("mcp_server", row.name)]
    if skills := getattr(models, "SqlSkill", None):  # from MLflow 3.18 on
        yield skills, _of_skill


def _of_skill(_connection: Any, row: Any) -> Names:
    return [("skill", f"@{row.organization}/{row.name}" if row.organization else row.name)]


def _giving(names: NamesOf, auth: Any) -> Listener:
    from mlflow.server.auth.permissions import MANAGE

    def give(_mapper: Any, connection: Any, row: Any) -> None:
        taken, creator = names(connection, row), _sender()
        stale_grants.remove(auth.store, taken)
        if taken and creator is not None and (taken[0][0] != EXPERIMENT or _asks_for_experiment(auth)):
            auth.store.grant_user_permission(creator, *taken[0], MANAGE.name)

    return give


def _ending(names: NamesOf, store: Any) -> Listener:
    def end(_mapper: Any, connection: Any, row: Any) -> None:
        stale_grants.remove(store, names(connection, row))

    return end


def _asks_for_experiment(auth: Any) -> bool:
    from flask import has_request_context, request

    if not has_request_context():
        return False
    handler = auth.AFTER_REQUEST_HANDLERS.get((request.path, request.method))
    return handler is getattr(auth, OF_EXPERIMENTS)


def _moving(store: Any) -> Listener:
    from sqlalchemy import event, inspect

    def rename(_mapper: Any, _connection: Any, row: Any) -> None:
        history = inspect(row).attrs.name.history
        if not history.has_changes():
            return
        (old,), new = history.deleted, row.name

        def move(_session: Any) -> None:
            for kind in (MODEL, PROMPT):
                store.rename_grants_for_resource(kind, old, new)

        stale_grants.remove(store, [(MODEL, new), (PROMPT, new)])
        event.listen(inspect(row).session, "before_commit", move, once=True)

    return rename
