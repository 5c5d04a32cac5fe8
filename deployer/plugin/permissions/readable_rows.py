"""Makes the database exclude unreadable rows from every search of a user; does not import deployer.

MLflow searches all rows, and then removes unreadable rows from the page that it found (mlflow/server/auth
`filter_search_*`, `_filter_search_mcp_*`, `filter_list_review_queues`; 3.18 still does so for registered models, model
versions and review queues). The length of the page and the token of the next page then reveal whether a hidden row
matched. With `tags.t LIKE 'a%'`, a user could read hidden text letter by letter.

This module adds a condition to each search of a non-admin user, so that pages and tokens do not depend on hidden rows.
The condition comes from MLflow's own read predicate. The predicate decides separately about each name in the user's
grants, and makes one decision for all other names. MLflow's filters still run and have the last word.

Replaced or called: the search methods of MLflow's stores, and `_role_based_read_predicate` and
`_review_queue_permission_in_experiment` in mlflow/server/auth.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any

from ..auth.request_cache import current
from . import experiment_search
from .experiment_ids import canonical

UNNAMED = "*"  # a name that no grant has; only grants on all names apply to it
LARGEST_ID = 2**63 - 1

Clause = Callable[[str, str], Any]  # (user name, SQL dialect) -> the condition for readable rows

_further: ContextVar[tuple[type, Any] | None] = ContextVar("deployer_readable_rows", default=None)


def _searches() -> Iterator[tuple[Any, str, type, Clause]]:
    """Yield for each search: store, method, the class of the found rows, and the condition."""
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModel
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as ModelStore
    from mlflow.store.tracking.dbmodels.models import (
        SqlExperiment,
        SqlLoggedModel,
        SqlMCPAccessEndpoint,
        SqlMCPServer,
        SqlReviewQueue,
    )
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

    yield ModelStore, "search_registered_models", SqlRegisteredModel, _models
    yield ModelStore, "search_model_versions", SqlModelVersion, _versions
    # for some users, experiment_search.py leaves the search of experiments to MLflow's filter
    yield TrackingStore, "search_experiments", SqlExperiment, _experiments
    yield TrackingStore, "search_logged_models", SqlLoggedModel, _logged_models
    yield TrackingStore, "search_mcp_servers", SqlMCPServer, _mcp_servers
    yield TrackingStore, "search_mcp_access_endpoints", SqlMCPAccessEndpoint, _mcp_endpoints
    yield TrackingStore, "list_review_queues", SqlReviewQueue, _review_queues


def install() -> None:
    """Add a condition to the searches of non-admin users; searches outside a request stay MLflow's own."""
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    for store, name, rows, clause in list(_searches()):
        needless = experiment_search.applies if name == "search_experiments" else never
        setattr(store, name, of_readable_rows(getattr(store, name), rows, clause, needless))
    event.listen(Session, "do_orm_execute", _leave_out)


def never() -> bool:
    """Return False: the condition is needed, because no other module adds one to the search."""
    return False


def of_readable_rows(
    search: Callable[..., Any], rows: type, clause: Clause, needless: Callable[[], bool] = never
) -> Callable[..., Any]:
    """Add the condition `clause` for rows of a class to a search, except if `needless()` is true."""
    from mlflow.server import auth

    @wraps(search)
    def search_readable(self: Any, *arguments: Any, **options: Any) -> Any:
        sender = current.get()
        if needless() or sender is None or auth.store.get_user(sender.username).is_admin:
            return search(self, *arguments, **options)
        condition = clause(sender.username, self.engine.dialect.name)
        token = _further.set(None if condition is None else (rows, condition))
        try:
            return search(self, *arguments, **options)
        finally:
            _further.reset(token)

    return search_readable


def _leave_out(execution: Any) -> None:
    """Add the condition to a statement, wherever the statement selects rows of the class."""
    from sqlalchemy.orm import with_loader_criteria

    further = _further.get()
    if further is None or not execution.is_select or execution.is_relationship_load or execution.is_column_load:
        return
    rows, condition = further
    execution.statement = execution.statement.options(with_loader_criteria(rows, condition, include_aliases=True))


def _models(username: str, dialect: str) -> Any:
    from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModel as Model
    from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModelTag
    from sqlalchemy.orm import aliased

    tag = aliased(SqlRegisteredModelTag)
    is_prompt = _is_prompt(tag, tag.workspace == Model.workspace, tag.name == Model.name)
    of_model = readable(username, Model.name, dialect, "registered_model")
    return _either(is_prompt, readable(username, Model.name, dialect, "prompt"), of_model)


def _versions(username: str, dialect: str) -> Any:
    """Return the condition by the tag of a version, as in MLflow's filter, and by the tag of its prompt or model."""
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion as Version
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersionTag, SqlRegisteredModelTag
    from sqlalchemy import and_
    from sqlalchemy.orm import aliased

    own, of_parent = aliased(SqlModelVersionTag), aliased(SqlRegisteredModelTag)
    same_version = (own.workspace == Version.workspace, own.name == Version.name, own.version == Version.version)
    same_parent = (of_parent.workspace == Version.workspace, of_parent.name == Version.name)
    of_model = readable(username, Version.name, dialect, "registered_model", "registered_model_version")
    of_prompt = readable(username, Version.name, dialect, "prompt", "prompt_version")
    if of_model is None and of_prompt is None:
        return None
    conditions = (_is_prompt(own, *same_version), _is_prompt(of_parent, *same_parent))
    return and_(*(_either(is_prompt, of_prompt, of_model) for is_prompt in conditions))


def _experiments(username: str, dialect: str) -> Any:
    from mlflow.store.tracking.dbmodels.models import SqlExperiment

    return readable(username, SqlExperiment.experiment_id, dialect, "experiment")


def _logged_models(username: str, dialect: str) -> Any:
    from mlflow.store.tracking.dbmodels.models import SqlLoggedModel

    return readable(username, SqlLoggedModel.experiment_id, dialect, "experiment", "logged_model")


def _mcp_servers(username: str, dialect: str) -> Any:
    from mlflow.store.tracking.dbmodels.models import SqlMCPServer

    return readable(username, SqlMCPServer.name, dialect, "mcp_server")


def _mcp_endpoints(username: str, dialect: str) -> Any:
    from mlflow.store.tracking.dbmodels.models import SqlMCPAccessEndpoint

    return readable(username, SqlMCPAccessEndpoint.server_name, dialect, "mcp_server")


def _review_queues(username: str, _dialect: str) -> Any:
    """Return the condition under which MLflow lists a queue (`mlflow.server.auth.filter_list_review_queues`)."""
    from mlflow.server import auth
    from mlflow.store.tracking.dbmodels.models import SqlReviewQueue, SqlReviewQueueUser
    from sqlalchemy import false, select

    permission = auth._review_queue_permission_in_experiment(auth._get_request_param("experiment_id"), username)
    if not permission.can_read:
        return false()
    if permission.can_update:
        return None
    user = username.strip().lower()  # as MLflow stores the users of a queue
    return SqlReviewQueue.queue_id.in_(select(SqlReviewQueueUser.queue_id).where(SqlReviewQueueUser.user_id == user))


def _is_prompt(tag: Any, *same: Any) -> Any:
    """Return the condition that a row is a prompt, by MLflow's own rule (`mlflow.server.auth._entity_is_prompt`)."""
    from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
    from sqlalchemy import exists, func

    return exists().where(*same, tag.key == IS_PROMPT_TAG_KEY, func.lower(tag.value) == "true")


def _either(is_prompt: Any, of_prompt: Any, of_model: Any) -> Any:
    from sqlalchemy import and_, not_, or_, true

    if of_prompt is None and of_model is None:
        return None
    prompts, models = (true() if clause is None else clause for clause in (of_prompt, of_model))
    return or_(and_(is_prompt, prompts), and_(not_(is_prompt), models))


def readable(username: str, column: Any, dialect: str, resource_type: str, part: str | None = None) -> Any:
    """Return the condition that the user may read the object that a column names; None if the user may read all.

    A denial of `part` ("logged_model") excludes all rows, as in MLflow's filters.
    """
    from mlflow.server import auth
    from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

    further = [] if part is None else [auth.Requirement(part, UNNAMED, auth.ACTION_NOT_DENIED)]
    can_read = auth._role_based_read_predicate(username, resource_type, also_require=further)
    # MLflow reads grants of the same types (workspace_grants.py), so one cached query serves both
    types = {resource_type, *([] if part is None else [part])}
    grants = auth.store.list_grants(auth.store.get_user(username).id, DEFAULT_WORKSPACE_NAME, types)
    own = (grant.resource_pattern for grant in grants if grant.resource_type == resource_type)
    named = {str(canonical(resource_type, pattern)) for pattern in own} - {UNNAMED}
    others = can_read(UNNAMED)
    exceptions = sorted(name for name in named if can_read(name) != others)
    if others and not exceptions:
        return None
    is_exception = _is_one_of(column, exceptions, dialect)
    return ~is_exception if others else is_exception


def _is_one_of(column: Any, names: list[str], dialect: str) -> Any:
    """Return the condition that a column has one of the values; SQLite and PostgreSQL get them as one parameter."""
    import sqlalchemy
    from sqlalchemy import Integer, Text, cast, func, literal, select

    is_number = isinstance(column.type, Integer)
    values = (
        [int(name) for name in names if _is_id(name)] if is_number else [name for name in names if "\0" not in name]
    )
    told = literal(json.dumps(values), Text)
    if dialect == "sqlite":
        return column.in_(select(func.json_each(told).table_valued("value").c.value))
    if dialect == "postgresql":
        found = func.json_array_elements_text(cast(told, sqlalchemy.JSON)).column_valued("told")
        return column.in_(select(cast(found, sqlalchemy.BigInteger) if is_number else found))
    return column.in_(values)


def _is_id(name: str) -> bool:
    """Tell whether a name is an experiment number in MLflow's own spelling."""
    short = name.isascii() and name.isdecimal() and len(name) <= len(str(LARGEST_ID))
    return short and str(int(name)) == name and int(name) <= LARGEST_ID
