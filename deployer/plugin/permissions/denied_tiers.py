"""Requires the same permissions for all requests that select traces by other objects; does not import deployer.

A role can deny all runs, all logged models or all assessments. A search of traces then must not select by the run, the
model or the assessments of a trace, because the result would reveal them (mlflow/server/auth
`_trace_search_selects_on_tiers`). MLflow forgets this for three requests. With this module, they require `READ`, too:

- a query of metrics that selects traces by their run or logged model (`validate_can_query_trace_metrics`)
- a search of traces that selects by an issue: MLflow stores the issues of a trace as assessments
- a search of issues that asks for the number of traces, which MLflow counts from these assessments
  (`validate_can_search_issues`)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

METRICS, ISSUES = "validate_can_query_trace_metrics", "validate_can_search_issues"
ASSESSMENT = "assessment"  # types of objects in permissions
BY_METADATA = {"mlflow.sourceRun": "run", "mlflow.modelId": "logged_model"}
EVERY = frozenset({ASSESSMENT, *BY_METADATA.values()})


def install() -> None:
    """Add the requirements to MLflow's checks."""
    from mlflow.protos.service_pb2 import QueryTraceMetrics
    from mlflow.server import auth

    auth._trace_search_selects_on_tiers = _with_issues(auth._trace_search_selects_on_tiers)

    def of_metrics() -> bool:
        message = auth._get_request_message(QueryTraceMetrics())
        return _reads(auth, message.experiment_ids, tiers_of_metrics(message.filters))

    def of_issues() -> bool:
        message = auth._get_request_message(auth.SearchIssues())
        return _reads(auth, [message.experiment_id], {ASSESSMENT} if message.include_trace_count else set())

    for name, further in ((METRICS, of_metrics), (ISSUES, of_issues)):
        usual, validators = getattr(auth, name), auth.BEFORE_REQUEST_VALIDATORS
        routes = [route for route, validator in validators.items() if validator is usual]
        validators.update(dict.fromkeys(routes, _and(usual, further)))


def tiers_of_metrics(filters: Iterable[str]) -> set[str]:
    """Return the types of objects by which the filters of a query of metrics select traces."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.search_utils import SearchTraceMetricsUtils

    tiers: set[str] = set()
    for text in filters:
        try:
            found = SearchTraceMetricsUtils.parse_search_filter(text)
        except MlflowException:  # the store reports the mistake to users who may read everything
            return set(EVERY)
        if found.view_type == ASSESSMENT:
            tiers.add(ASSESSMENT)
        elif found.key in BY_METADATA:
            tiers.add(BY_METADATA[found.key])
    return tiers


def _and(usual: Callable[[], bool], further: Callable[[], bool]) -> Callable[[], bool]:
    @wraps(usual)
    def validate() -> bool:
        return usual() and further()

    return validate


def _reads(auth: Any, experiments: Iterable[str], tiers: Iterable[str]) -> bool:
    """Tell whether the user may read the objects of these types; without a permission of a role, as the experiment."""
    tiers = sorted(tiers)
    required = [
        auth.Requirement(tier, "*", "read", fallback_if_no_grant=(("experiment", experiment),))
        for experiment in experiments
        for tier in tiers
    ]
    return not required or bool(auth.authorize(auth.authenticate_request().username, ("workspace", "*"), required))


def _with_issues(usual: Callable[..., frozenset[str]]) -> Callable[..., frozenset[str]]:
    @wraps(usual)
    def selects_on_tiers(filter_strings: Any = (), order_by: Any = ()) -> frozenset[str]:
        tiers = usual(filter_strings, order_by)
        return tiers | {ASSESSMENT} if any(map(_names_issue, filter_strings)) else tiers

    return selects_on_tiers


def _names_issue(text: str) -> bool:
    from mlflow.exceptions import MlflowException
    from mlflow.utils.search_utils import SearchTraceUtils

    try:
        found = SearchTraceUtils.parse_search_filter_for_search_traces(text) if text else []
        return any(SearchTraceUtils.is_issue(each["type"], each["key"], each["comparator"]) for each in found)
    except MlflowException:  # as above; MLflow's function has returned every type
        return True
