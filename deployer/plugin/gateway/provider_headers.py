"""Chooses the client headers that MLflow's gateway passes on to a model provider; does not import deployer.

MLflow passes nearly all headers of a client on to the provider, together with the administrator's key
(mlflow/gateway/providers/openai_compatible.py `_get_headers`). Two kinds of headers must not pass:

- Some providers take the destination of the request from a header, such as `x-portkey-custom-host`. So a member with
  USE on an endpoint could make the provider send the administrator's key to an address of the member's choice.
- If `User-Agent` names one of three command-line tools, MLflow takes `Authorization` for a login to the provider and
  passes it on. If the member uses this header to log in to MLflow, the provider gets the member's password.

This module passes on only the headers in PASSED_ON. Headers in OWN_LOGIN pass only if the client logs in to MLflow with
another header.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

PASSED_ON = frozenset({"accept", "anthropic-beta", "anthropic-version", "content-type", "openai-beta", "user-agent"})
# the client's own login to the provider (mlflow/gateway/providers/base.py `_CLIENT_AUTH_HEADERS`)
OWN_LOGIN = frozenset({"api-key", "authorization", "chatgpt-account-id", "x-api-key", "x-goog-api-key"})
MLFLOW_LOGIN = "x-mlflow-authorization"  # mlflow/gateway/constants.py


def install() -> None:
    """Filter the headers of requests to providers."""
    from mlflow.gateway.providers.base import BaseProvider

    provider: Any = BaseProvider
    provider.passthrough = _filtered(provider.passthrough)


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a client that the provider may get."""
    names = {name.lower() for name in headers}
    allowed = PASSED_ON | OWN_LOGIN if MLFLOW_LOGIN in names else PASSED_ON
    return {name: value for name, value in headers.items() if name.lower() in allowed}


def _filtered(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def passthrough(self: Any, action: Any, payload: Any, headers: Mapping[str, str] | None = None) -> Any:
        return await original(self, action, payload, None if headers is None else passed_on(headers))

    return passthrough
