"""Refuses JSON of MCP servers and skills that the server could not send again; does not import deployer.

These objects may contain any JSON. MLflow stores it first, and fails later when it sends the object: Pydantic refuses
more than about 250 levels, and a response cannot contain half of a surrogate pair, infinity or NaN. Until somebody
deletes the object, every list with the object fails, also for administrators.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

DEEPEST = 100  # levels
FASTAPI = ("SqlMCP", "SqlSkill")  # the classes of the objects that FastAPI's routes send


def install() -> None:
    """Check each JSON column before a row is written."""
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import event

    for rows, names in list(_with_json(models.Base)):
        for moment in ("before_insert", "before_update"):
            event.listen(rows, moment, _checking(names))


def _with_json(base: Any) -> Iterator[tuple[type, list[str]]]:
    from sqlalchemy import JSON

    for mapper in base.registry.mappers:
        names = [each.key for each in mapper.column_attrs if any(isinstance(c.type, JSON) for c in each.columns)]
        if names and mapper.class_.__name__.startswith(FASTAPI):
            yield mapper.class_, names


def _checking(names: list[str]) -> Callable[..., None]:
    def check(_mapper: Any, _connection: Any, row: Any) -> None:
        for name in names:
            if problem := problem_of(getattr(row, name)):
                raise _refusal(f"The field '{name}' contains {problem}.")

    return check


def problem_of(value: Any) -> str | None:
    """Return why the server could not send a value, or None."""
    waiting = [(value, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST:
            return f"more than {DEEPEST} levels"
        if isinstance(value, dict):
            waiting += [(each, depth + 1) for pair in value.items() for each in pair]
        elif isinstance(value, list):
            waiting += [(each, depth + 1) for each in value]
        elif isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            return "half of a surrogate pair"
        elif isinstance(value, float) and not math.isfinite(value):
            return "a number that JSON does not have"
    return None


def _refusal(text: str) -> Exception:
    from mlflow.exceptions import MlflowException

    error: Exception = MlflowException.invalid_parameter_value(text)
    return error
