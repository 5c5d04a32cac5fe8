"""Keeps the traces of MLflow's gateway in the experiment of their endpoint; does not import deployer.

An endpoint with usage tracking stores each request as a trace in its own experiment (experiments.py). MLflow's
gateway also writes spans outside of this experiment:

- For a request with the header `traceparent`, the gateway writes a summary under the trace that the header names
  (mlflow/gateway/tracing_utils.py `_maybe_create_distributed_span`). The server does not know the experiment of that
  trace, so it writes the summary to experiment 0 (mlflow/tracing/export/mlflow_v3.py). Afterwards, the client's own
  trace is refused, because a trace with this identifier is in another experiment.
- For an endpoint without usage tracking, providers still write a trace, with the answer, for each request that they
  pass on (mlflow/gateway/providers/base.py `passthrough`, `proxy`). The trace has no destination, so it is in
  experiment 0.

In both cases, a member who has only USE on the endpoint can write to experiment 0. With this module, the gateway writes
neither.

For the first trace of a process, MLflow runs `git` to describe the current directory
(mlflow/tracing/utils/environment.py `_resolve_git_metadata`). The directory says nothing about a request. With this
module, the server starts no program.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def install() -> None:
    """Replace the functions that write these spans."""
    from mlflow.gateway import tracing_utils
    from mlflow.server import gateway_api
    from mlflow.tracing.utils import environment

    environment._resolve_git_metadata = dict
    tracing_utils._maybe_create_distributed_span = _nothing
    gateway_api._create_provider = _as_tracked(gateway_api._create_provider)


def _nothing(_request_headers: Any, _endpoint_config: Any) -> None:
    """Write no summary: the endpoint's experiment has the whole trace."""


def _as_tracked(original: Callable[..., Any]) -> Callable[..., Any]:
    """Let a provider write traces only if its endpoint has usage tracking."""

    @wraps(original)
    def create_provider(endpoint_config: Any, endpoint_type: Any, enable_tracing: bool = False) -> Any:
        return original(endpoint_config, endpoint_type, enable_tracing and endpoint_config.usage_tracking)

    return create_provider
