"""Begins and ends the permissions on an object in the transaction that writes the object; does not import deployer.

MLflow gives the creator of an object the permission MANAGE on the object's name, after the object is written
(mlflow/server/auth `set_can_manage_*_permission`, `_mcp_server_after_create`, `_skill_after_create`). In between,
somebody may delete the object, and another user may create an object of the same name. The first creator then gets
MANAGE on the other user's object. In the same way, MLflow moves permissions after a model has a new name
(`rename_registered_model_permission`). It removes permissions after an object is deleted, and may then remove those of
the next object (`delete_*_permission`, `_mcp_server_after_delete`, `_skill_after_delete`).

With this module, all this happens before the transaction ends. When an object takes a name, the permissions that
earlier objects of this name left behind are removed (stale_grants.py). Then the sender of the request gets MANAGE. The
names are in unique indexes, and the numbers of experiments are primary keys. So until the transaction ends, no other
transaction takes the name: SQLite has one writer at a time, and PostgreSQL lets the others wait.

The permissions have a transaction of their own, and often a database of their own. Both transactions cannot end as one:

- The permissions are written first, so nobody sees the object without the permission of its creator.
- If the object's transaction then fails, a permission may remain on a name that no object has. The permission ends when
  an object takes the name. After a failed deletion or renaming, the users' permissions on the object are lost. To make
  this rare, permissions are removed only after the rows, and moved only right before the commit.
- If the connection to the database of the objects breaks while a permission is written, the name becomes free too
  early. If another user takes the name in this moment, the sender gets MANAGE on the other user's object. With two
  databases, this cannot be excluded.

A scorer has permissions as long as it has versions. When any version is deleted, MLflow removes all permissions on the
scorer. It also gives MANAGE to every user who registers a further version, which each editor of the experiment may do.

An experiment gets an owner only if the request's purpose is to create an experiment. Experiments that MLflow's gateway
creates get no owner.

SQLAlchemy mapper events trigger all this, because MLflow 3.17 and 3.18 write these tables only through their mapped
classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import wraps
from types import SimpleNamespace
from typing import Any

OF_RESPONSES = "(resp)"
OF_REQUESTS = "(username, request)"
OF_EXPERIMENTS = "set_can_manage_experiment_permission"
GIVING = {
    OF_EXPERIMENTS: OF_RESPONSES,
    "set_can_manage_registered_model_permission": OF_RESPONSES,
    "set_can_manage_scorer_permission": OF_RESPONSES,
    "_mcp_server_after_create": OF_REQUESTS,
}
REMOVING = {
    "delete_can_manage_registered_model_permission": OF_RESPONSES,
    "delete_scorer_permissions_cascade": OF_RESPONSES,
    "_mcp_server_after_delete": OF_REQUESTS,
}
GIVING_SKILLS, REMOVING_SKILLS = "_skill_after_create", "_skill_after_delete"  # from MLflow 3.18 on
RENAMING = "rename_registered_model_permission"
CALLED = {"_redact_registered_model_response": "(resp, response_message)", "_prompt_marker_in_tags": "(tags)"}
OF_STORE = {
    "grant_user_permission": "(self, username, resource_type, resource_pattern, permission)",
    "rename_grants_for_resource": "(self, resource_type, old_pattern, new_pattern, *, workspace_scoped=False)",
    "_scorer_pattern": "(experiment_id, scorer_name)",
}
EXPERIMENT = "experiment"
MODEL, PROMPT = "registered_model", "prompt"  # they share their names

Names = Sequence[tuple[str, str]]  # (resource type, name in the permission); first the one that the creator manages
NamesOf = Callable[[Any, Any], Names]  # (connection, row) -> the names of the object that begins or ends with the row
Listener = Callable[[Any, Any, Any], None]


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield (owner, function name, required signature) for each MLflow function that is replaced or called."""
    from mlflow.server import auth
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    of_skills = dict.fromkeys((GIVING_SKILLS, REMOVING_SKILLS), OF_REQUESTS) if _has_skills(auth) else {}
    for name, signature in {**GIVING, **REMOVING, **of_skills, RENAMING: OF_RESPONSES, **CALLED}.items():
        yield auth, name, signature
    for name, signature in OF_STORE.items():
        yield SqlAlchemyStore, name, signature


def _has_skills(auth: Any) -> bool:
    return hasattr(auth, GIVING_SKILLS)


def install(current: ContextVar[Any], demand: Callable[..., None], stale: Any) -> None:
    """Write permissions together with objects, and keep MLflow from doing so later.

    `current` holds the login of the current request (`fastauth_memory.Memory`). `demand` rejects missing functions and
    other signatures. `stale` is the module stale_grants.
    """
    from mlflow.server import auth
    from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModel
    from sqlalchemy import event

    for seam in seams():
        demand(*seam)
    for name, signature in GIVING.items():
        _replace(auth, name, signature, _unless_given(getattr(auth, name), current), demand)
    for name, signature in REMOVING.items():
        _replace(auth, name, signature, _nothing, demand)
    _replace(auth, RENAMING, OF_RESPONSES, _redacting(auth), demand)
    if _has_skills(auth):  # these are in no table: MLflow looks up the functions when it needs them
        setattr(auth, GIVING_SKILLS, _unless_given(getattr(auth, GIVING_SKILLS), current))
        setattr(auth, REMOVING_SKILLS, _nothing)
    for rows, names in _kinds(auth):
        event.listen(rows, "after_insert", _giving(names, auth, current, stale))
        event.listen(rows, "after_delete", _ending(names, auth.store, stale))
    event.listen(SqlRegisteredModel, "after_update", _moving(auth.store, stale))


def _replace(auth: Any, name: str, signature: str, by: Callable[..., None], demand: Callable[..., None]) -> None:
    """Replace what MLflow does after a request: in its tables, and in its module, because MLflow compares with that."""
    usual, found = getattr(auth, name), False
    for table in (auth.AFTER_REQUEST_HANDLERS, auth.FASTAPI_AFTER_REQUEST_HANDLERS):
        routes = [route for route, handler in table.items() if handler is usual]
        table.update(dict.fromkeys(routes, by))
        found = found or bool(routes)
    demand(SimpleNamespace(**({name: usual} if found else {})), name, signature)
    setattr(auth, name, by)


def _nothing(*_arguments: Any) -> None:
    """Do nothing: the permissions have ended with the object."""


def _sender(current: ContextVar[Any]) -> str | None:
    """Return the user name of the current request, or None if nobody has logged in by name and password."""
    memory = current.get()
    return str(memory.username) if memory is not None and memory.accepted else None


def _unless_given(usual: Callable[..., None], current: ContextVar[Any]) -> Callable[..., None]:
    """Let MLflow grant the permission if the sender is unknown here, as with a custom `authorization_function`."""

    @wraps(usual)
    def after_request(*arguments: Any) -> None:
        if _sender(current) is None:
            usual(*arguments)

    return after_request


def _redacting(auth: Any) -> Callable[[Any], None]:
    """Return the part of MLflow's function that shortens the response to a rename."""
    from mlflow.protos.model_registry_pb2 import RenameRegisteredModel

    @wraps(auth.rename_registered_model_permission)
    def after_request(resp: Any) -> None:
        auth._redact_registered_model_response(resp, RenameRegisteredModel.Response())

    return after_request


def _kinds(auth: Any) -> Iterator[tuple[type, NamesOf]]:
    """Yield for each kind of object: the class of the rows with which objects begin and end, and their names."""
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


def _giving(names: NamesOf, auth: Any, current: ContextVar[Any], stale: Any) -> Listener:
    from mlflow.server.auth.permissions import MANAGE

    def give(_mapper: Any, connection: Any, row: Any) -> None:
        taken, creator = names(connection, row), _sender(current)
        stale.remove(auth.store, taken)
        if taken and creator is not None and (taken[0][0] != EXPERIMENT or _asks_for_experiment(auth)):
            auth.store.grant_user_permission(creator, *taken[0], MANAGE.name)

    return give


def _ending(names: NamesOf, store: Any, stale: Any) -> Listener:
    def end(_mapper: Any, connection: Any, row: Any) -> None:
        stale.remove(store, names(connection, row))

    return end


def _asks_for_experiment(auth: Any) -> bool:
    from flask import has_request_context, request

    if not has_request_context():
        return False
    handler = auth.AFTER_REQUEST_HANDLERS.get((request.path, request.method))
    return handler is getattr(auth, OF_EXPERIMENTS)


def _moving(store: Any, stale: Any) -> Listener:
    from sqlalchemy import event, inspect

    def rename(_mapper: Any, _connection: Any, row: Any) -> None:
        history = inspect(row).attrs.name.history
        if not history.has_changes():
            return
        (old,), new = history.deleted, row.name

        def move(_session: Any) -> None:
            for kind in (MODEL, PROMPT):
                store.rename_grants_for_resource(kind, old, new)

        stale.remove(store, [(MODEL, new), (PROMPT, new)])
        event.listen(inspect(row).session, "before_commit", move, once=True)

    return rename
