"""Removes a header with which MLflow marks calls to its own server; does not import deployer.

A guardrail of a gateway endpoint may let another endpoint rewrite a request. MLflow marks this call with a header
(mlflow/gateway/guardrails.py `_SANITIZE_BYPASS_HEADER`), so that the guardrails of the other endpoint do not check the
call. MLflow cannot distinguish its own header from one that a client sends. So every client could skip the guardrails.
MLflow 3.17.2 and 3.18.0 ignore the header by mistake: they look for a name with capital letters among names in lower
case (mlflow/server/gateway_api.py `_get_guardrails_and_auth`). This module keeps later releases from finding the
header.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

BYPASS = b"x-mlflow-guardrail-bypass"
GATEWAY = "/gateway/"


def remove(scope: MutableMapping[str, Any]) -> None:
    """Remove the header from a request to the gateway."""
    if scope["path"].startswith(GATEWAY):
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != BYPASS]
