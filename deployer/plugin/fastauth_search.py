"""Finds the experiments that a user may read with one question to the database; knows nothing of deployer.

MLflow 3.17 searches all, takes out what the user may not read and searches on until the page is full: three searches
for a member with one experiment of thirty, dozens on a server with thousands. MLflow 3.18 asks for the readable ones
alone, and so does this, by the store's own hook for further conditions. What is found goes through MLflow's filter all
the same, which has the last word; only where it would change nothing the answer is left as it is, and not made twice.

Seams, in mlflow/server: `auth.filter_search_experiments`, `auth._role_based_read_predicate`,
`handlers._search_experiments`, and `_experiment_where_clauses` of the tracking store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any

FILTER_SIGNATURE, WHERE_SIGNATURE = "(resp)", "(self)"
PREDICATE_SIGNATURE = "(username, resource_type, also_require=())"
TYPES = frozenset({"experiment", "workspace"})  # of the grants that tell it; MLflow asks for the same, so once
MOST_IDS = 1000  # in one statement, SQLite takes 32766 values; who may read more is filtered afterwards
LARGEST_ID = 2**63 - 1
UNNAMED = "*"  # an experiment that no grant names

_only: ContextVar[list[int] | None] = ContextVar("deployer_experiments", default=None)


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield the objects whose functions this builds on, and those with the signatures that they must have."""
    from mlflow.server import auth
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

    if _searches_for_all(auth):
        yield auth, "filter_search_experiments", FILTER_SIGNATURE
        yield auth, "_role_based_read_predicate", PREDICATE_SIGNATURE
        yield TrackingStore, "_experiment_where_clauses", WHERE_SIGNATURE


def _searches_for_all(auth: Any) -> bool:
    return hasattr(auth, "filter_search_experiments")


def applies() -> bool:
    """Tell whether the search of experiments that is under way leaves out what the sender may not read."""
    return _only.get() is not None


def install() -> None:
    """Put it in the place of MLflow's own way, unless workspaces are on or MLflow asks in this way itself."""
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
    from mlflow.server import app, auth, handlers
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

    if MLFLOW_ENABLE_WORKSPACES.get() or not _searches_for_all(auth):
        return
    search, sift = handlers._search_experiments, auth.filter_search_experiments
    for endpoint, view in app.view_functions.items():
        if view is search:
            app.view_functions[endpoint] = _of_readable_ones(search, auth)
    needed = _where_needed(sift, auth)
    for route, handler in auth.AFTER_REQUEST_HANDLERS.items():
        if handler is sift:
            auth.AFTER_REQUEST_HANDLERS[route] = needed
    # what decides itself who gets what; a route without any decision is forbidden
    auth._SELF_AUTHORIZING_AFTER_REQUEST_HANDLERS |= {needed}
    TrackingStore._experiment_where_clauses = _with_readable_ones(TrackingStore._experiment_where_clauses)


def _of_readable_ones(search: Callable[[], Any], auth: Any) -> Callable[[], Any]:
    @wraps(search)
    def search_experiments() -> Any:
        token = _only.set(None if auth.sender_is_admin() else _readable(auth))
        try:
            return search()
        finally:
            _only.reset(token)

    return search_experiments


def _readable(auth: Any) -> list[int] | None:
    """Return the experiments that the user of this request may read, or None where only a look at each can tell."""
    from mlflow.server.auth.permissions import get_permission
    from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

    username = auth.authenticate_request().username
    if auth._role_based_read_predicate(username, "experiment")(UNNAMED):
        return None
    grants = auth.store.list_grants(auth.store.get_user(username).id, DEFAULT_WORKSPACE_NAME, TYPES)
    named = [grant for grant in grants if grant.resource_type == "experiment"]
    ids = [int(grant.resource_pattern) for grant in named if _is_id(grant.resource_pattern)]
    # one that forbids decides against others about the same experiment
    return ids if len(ids) <= MOST_IDS and all(get_permission(grant.permission).can_read for grant in named) else None


def _is_id(name: str) -> bool:
    """Tell whether it is spelt as MLflow spells the number of an experiment."""
    short = name.isascii() and name.isdecimal() and len(name) <= len(str(LARGEST_ID))
    return short and str(int(name)) == name and int(name) <= LARGEST_ID


def _with_readable_ones(original: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
    from mlflow.store.tracking.dbmodels.models import SqlExperiment

    @wraps(original)
    def where_clauses(self: Any) -> list[Any]:
        ids = _only.get()
        further = [] if ids is None else [SqlExperiment.experiment_id.in_(ids)]
        return [*original(self), *further]

    return where_clauses


def _where_needed(sift: Callable[[Any], None], auth: Any) -> Callable[[Any], None]:
    """Spare an answer to be read and written again in which all may be read: a page that others follow is full then."""

    @wraps(sift)
    def filter_search_experiments(resp: Any) -> None:
        if auth.sender_is_admin():
            return
        can_read = auth._role_based_read_predicate(auth.authenticate_request().username, "experiment")
        if not all(can_read(experiment["experiment_id"]) for experiment in resp.json.get("experiments", ())):
            sift(resp)

    return filter_search_experiments
