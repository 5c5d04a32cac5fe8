"""Keeps traces of members out of the costs of MLflow's gateway; does not import deployer.

MLflow compares the budgets of the gateway with the costs of all traces that name a gateway endpoint in their metadata
(mlflow/store/tracking/gateway/sqlalchemy_mixin.py `sum_gateway_trace_cost`). A client chooses the metadata and the cost
of its trace. So a member could use up the budget of all users, or hide costs behind a trace with a negative cost.

The gateway writes its own traces outside of Flask's requests. Clients can write this metadata only in requests that
Flask serves. If the sender of such a request is not an administrator, this module leaves the name of the endpoint out
of the trace. It does not refuse the trace, because clients copy metadata together with a trace
(mlflow/tracing/utils/copy.py).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

ENDPOINT = "mlflow.gateway.endpointId"  # mlflow/tracing/constant.py `TraceMetadataKey`
OF_STORE = ("start_trace", "deprecated_start_trace_v2", "deprecated_end_trace_v2")
METADATA = "request_metadata"


def install() -> None:
    """Change the metadata of traces before MLflow stores them."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for name in OF_STORE:
        setattr(SqlAlchemyStore, name, _without_endpoint(getattr(SqlAlchemyStore, name)))


def _without_endpoint(original: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(original)

    @wraps(original)
    def write(*arguments: Any, **named: Any) -> Any:
        given = signature.bind(*arguments, **named)
        if METADATA in given.arguments:
            given.arguments[METADATA] = _of_sender(given.arguments[METADATA])
        else:
            trace = given.arguments["trace_info"]
            trace.trace_metadata = _of_sender(trace.trace_metadata)
        return original(*given.args, **given.kwargs)

    return write


def _of_sender(metadata: Any) -> dict[str, str]:
    """Return the metadata that the sender of the current request may choose."""
    from flask import has_request_context
    from mlflow.server import auth

    found = dict(metadata or {})
    if ENDPOINT in found and has_request_context() and not auth.sender_is_admin():
        del found[ENDPOINT]
    return found
