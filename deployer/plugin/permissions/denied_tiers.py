"""Requires the same permissions for all requests that reveal runs, models or assessments; does not import deployer.

A role can deny all runs, all logged models or all assessments. For users with such a role, MLflow refuses a search of
traces if its filter uses the run, the model or the assessments of a trace, because the result would reveal these
objects (mlflow/server/auth `_trace_search_selects_on_tiers`). MLflow does not refuse four other requests that reveal
the same. With this module, each of these requests requires `READ` on the objects that it reveals:

- a query of metrics that selects traces by their run or logged model (`validate_can_query_trace_metrics`)
- a search of traces that selects by an issue: MLflow stores the issues of a trace as assessments
- a search of issues that asks for the number of traces, which MLflow counts from these assessments
  (`validate_can_search_issues`)
- a search of the datasets that runs have used (`validate_can_search_datasets`, and GraphQL's `mlflowSearchDatasets`)

In addition, the response to a request that starts an existing trace again contains no assessments that are denied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

METRICS, ISSUES = "validate_can_query_trace_metrics", "validate_can_search_issues"
DATASETS, OF_GRAPHQL = "validate_can_search_datasets", "mlflowSearchDatasets"
STARTED = "redact_start_trace_v3_metadata"
ASSESSMENT, RUN, TRACE = "assessment", "run", "trace"  # types of objects in permissions
BY_METADATA = {"mlflow.sourceRun": RUN, "mlflow.modelId": "logged_model"}
EVERY = frozenset({ASSESSMENT, *BY_METADATA.values()})


def install() -> None:
    """Add the requirements to MLflow's checks."""
    from mlflow.protos.service_pb2 import QueryTraceMetrics, SearchDatasets
    from mlflow.server import auth

    auth._trace_search_selects_on_tiers = _with_issues(auth._trace_search_selects_on_tiers)
    middleware = auth.GraphQLAuthorizationMiddleware
    middleware._check_authorization = _of_readable_runs(middleware._check_authorization, auth)

    def of_metrics() -> bool:
        message = auth._get_request_message(QueryTraceMetrics())
        return _reads(auth, message.experiment_ids, tiers_of_metrics(message.filters))

    def of_issues() -> bool:
        message = auth._get_request_message(auth.SearchIssues())
        return _reads(auth, [message.experiment_id], {ASSESSMENT, TRACE} if message.include_trace_count else set())

    def of_datasets() -> bool:
        return _reads(auth, auth._get_request_message(SearchDatasets()).experiment_ids, {RUN})

    of_traces = getattr(auth, STARTED)
    withholding = _without_denied_assessments(of_traces, auth)
    handlers = auth.AFTER_REQUEST_HANDLERS
    handlers.update({route: withholding for route, handler in handlers.items() if handler is of_traces})
    for name, further in ((METRICS, of_metrics), (ISSUES, of_issues), (DATASETS, of_datasets)):
        usual, validators = getattr(auth, name), auth.BEFORE_REQUEST_VALIDATORS
        routes = [route for route, validator in validators.items() if validator is usual]
        validators.update(dict.fromkeys(routes, _and(usual, further)))


def _without_denied_assessments(redact: Callable[[Any], None], auth: Any) -> Callable[[Any], None]:
    """Withhold denied assessments from the response to a request that starts a trace."""
    from mlflow.protos.service_pb2 import StartTraceV3
    from mlflow.utils.proto_json_utils import message_to_json, parse_dict

    @wraps(redact)
    def redacted(response: Any) -> None:
        redact(response)
        if not isinstance(response.json, dict) or auth.sender_is_admin():
            return
        message = StartTraceV3.Response()
        parse_dict(response.json, message)
        if auth._withhold_denied_assessments([message.trace.trace_info]):
            response.data = message_to_json(message)

    return redacted


def tiers_of_metrics(filters: Iterable[str]) -> set[str]:
    """Return the types of objects that the filters of a metrics query use to select traces."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.search_utils import SearchTraceMetricsUtils

    tiers: set[str] = set()
    for text in filters:
        try:
            found = SearchTraceMetricsUtils.parse_search_filter(text)
        except MlflowException:  # invalid: users who may read everything get the store's error
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


def _of_readable_runs(check: Callable[..., bool], auth: Any) -> Callable[..., bool]:
    @wraps(check)
    def check_authorization(self: Any, field_name: str, args: dict[str, Any], username: str) -> bool:
        if not check(self, field_name, args, username):
            return False
        return field_name != OF_GRAPHQL or _reads(auth, args["input"].experiment_ids, {RUN})

    return check_authorization


def _reads(auth: Any, experiments: Iterable[str], tiers: Iterable[str]) -> bool:
    """Tell whether the user may read the objects of these types.

    If no role has a permission on a type, the permission on the experiment decides.
    """
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
    except MlflowException:  # invalid: MLflow's function has already returned every type
        return True
