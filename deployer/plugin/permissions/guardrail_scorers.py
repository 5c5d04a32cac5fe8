"""Keeps scorers with regular expressions out of guardrails; does not import deployer.

A guardrail runs its scorer in the server's process. MLflow's scorer `RegexMatch` evaluates the expression of its author
with Python's `re`, which holds the interpreter's lock (mlflow/genai/scorers/builtin_scorers.py). Some expressions take
longer than a lifetime. If a member wrote such a scorer and an administrator uses it in a guardrail, one request stops
the whole server.

With this module, the server refuses to create a guardrail with such a scorer, and to add such a guardrail to an
endpoint. Members may still register these scorers, because evaluations run in clients.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from .scorer_classes import names_in

WITH_EXPRESSIONS = "RegexMatch"
REFUSED = (
    f"Guardrails do not support the scorer {WITH_EXPRESSIONS}, also not in an ensemble: its regular expression runs in "
    "the server's process and may stop the server. Use another scorer."
)


def install() -> None:
    """Check the scorers of guardrails."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore.create_gateway_guardrail = _with_checked_scorer(SqlAlchemyStore.create_gateway_guardrail)
    SqlAlchemyStore.add_guardrail_to_endpoint = _with_checked_guardrail(SqlAlchemyStore.add_guardrail_to_endpoint)


def _refuse_expressions(serialized_scorer: str) -> None:
    from mlflow.exceptions import MlflowException

    if WITH_EXPRESSIONS in names_in(json.loads(serialized_scorer)):
        raise MlflowException.invalid_parameter_value(REFUSED)


def _with_checked_scorer(usual: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(usual)
    def create_gateway_guardrail(self: Any, name: str, scorer_id: str, scorer_version: int, **more: Any) -> Any:
        with self.ManagedSessionMaker(read_only=True) as session:
            _refuse_expressions(self._get_scorer_version(session, scorer_id, scorer_version).serialized_scorer)
        return usual(self, name, scorer_id, scorer_version, **more)

    return create_gateway_guardrail


def _with_checked_guardrail(usual: Callable[..., Any]) -> Callable[..., Any]:
    """Check a guardrail again: the scorer may have been replaced before the guardrail was created."""

    @wraps(usual)
    def add_guardrail_to_endpoint(self: Any, endpoint_id: str, guardrail_id: str, **more: Any) -> Any:
        _refuse_expressions(self.get_gateway_guardrail(guardrail_id).scorer._serialized_scorer)
        return usual(self, endpoint_id, guardrail_id, **more)

    return add_guardrail_to_endpoint
