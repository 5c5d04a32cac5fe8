"""Finds, with one query, the experiments that a user may read; does not import deployer.

MLflow 3.17 searches all experiments, drops the unreadable ones from the page, and repeats both until the page is full.
If a user may read one experiment of thirty, MLflow searches three times. On a server with thousands of experiments, it
searches dozens of times. MLflow 3.18 searches only the readable experiments. This module makes 3.17 do the same,
through the store's own hook for further conditions. The module checks each result with MLflow's read predicate. It
calls MLflow's filter only if a result is unreadable, because the filter is slow: it parses and rebuilds the response.

Replaced or called in mlflow/server: `auth.filter_search_experiments`, `auth._role_based_read_predicate`,
`handlers._search_experiments`, and `_experiment_where_clauses` of the tracking store.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any

from .experiment_ids import canonical

TYPES = frozenset(
    {"experiment"}
)  # types of grants; MLflow reads the same types (workspace_grants.py), so one cached query serves both
MOST_IDS = 1000  # in one statement; SQLite accepts 32766. For users who may read more, MLflow's filter alone applies
LARGEST_ID = 2**63 - 1
UNNAMED = "*"  # an experiment that no grant names

_only: ContextVar[list[int] | None] = ContextVar("deployer_experiments", default=None)


def _searches_for_all(auth: Any) -> bool:
    return hasattr(auth, "filter_search_experiments")


def applies() -> bool:
    """Tell whether the current search of experiments leaves out experiments without READ."""
    return _only.get() is not None


def install() -> None:
    """Replace MLflow's search, unless workspaces are on or MLflow already searches only readable experiments."""
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
    # MLflow's list of handlers that check permissions; MLflow forbids a route without any such check
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
    """Return the experiments that the user of this request may read, or None if each one must be checked."""
    from mlflow.server.auth.permissions import get_permission
    from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

    username = auth.authenticate_request().username
    if auth._role_based_read_predicate(username, "experiment")(UNNAMED):
        return None
    grants = auth.store.list_grants(auth.store.get_user(username).id, DEFAULT_WORKSPACE_NAME, TYPES)
    named = [grant for grant in grants if grant.resource_type == "experiment"]
    patterns = [str(canonical(grant.resource_type, grant.resource_pattern)) for grant in named]
    ids = [int(pattern) for pattern in patterns if _is_id(pattern)]
    # a grant that denies takes precedence over other grants on the same experiment
    return ids if len(ids) <= MOST_IDS and all(get_permission(grant.permission).can_read for grant in named) else None


def _is_id(name: str) -> bool:
    """Tell whether a name is an experiment number in MLflow's own spelling."""
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
    """Skip MLflow's filter if the user may read all experiments in a response.

    The response then need not be parsed and built again. If there is a next page, this page is already full, so the
    filter need not look for more experiments.
    """

    @wraps(sift)
    def filter_search_experiments(resp: Any) -> None:
        if auth.sender_is_admin():
            return
        can_read = auth._role_based_read_predicate(auth.authenticate_request().username, "experiment")
        if not all(can_read(experiment["experiment_id"]) for experiment in resp.json.get("experiments", ())):
            sift(resp)

    return filter_search_experiments
