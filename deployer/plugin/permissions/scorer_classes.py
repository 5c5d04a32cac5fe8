"""Lets a serialized scorer name only MLflow's built-in scorers; does not import deployer.

A serialized scorer names a class and the arguments of its constructor. MLflow 3.17 looks up the name in the module of
the built-in scorers, and calls the object that it finds (mlflow/genai/scorers/builtin_scorers.py
`BuiltInScorer.model_validate`). The module also holds imported functions and classes, and some of them connect to an
address in their arguments. If an administrator puts such a scorer into a guardrail, the server connects to an address
that a member has chosen.

MLflow 3.18 accepts only concrete classes of built-in scorers (`_get_builtin_scorer_class`). This module makes 3.17 do
the same, and refuses other names when a scorer is registered. The check finds names at any depth, because an ensemble
contains other scorers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from .scorer_contents import entries

PAYLOAD = "_validate_serialized_scorer_payload"
NAME = "builtin_scorer_class"


def is_needed() -> bool:
    """Tell whether this MLflow accepts other names."""
    from mlflow.genai.scorers import builtin_scorers

    return not hasattr(builtin_scorers, "_get_builtin_scorer_class")


def install() -> None:
    """Add the check, unless MLflow has it."""
    from mlflow.genai.scorers.builtin_scorers import BuiltInScorer
    from mlflow.server import handlers

    if not is_needed():
        return
    BuiltInScorer.model_validate = _of_built_in_class(BuiltInScorer.model_validate)
    setattr(handlers, PAYLOAD, _with_built_in_classes(getattr(handlers, PAYLOAD)))


def names_in(scorer: Any) -> Iterator[Any]:
    """Yield the name of each class in a decoded scorer, also of the scorers in an ensemble."""
    return (value for key, value in entries(scorer) if key == NAME and value is not None)


def _refuse_unknown(name: Any) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.genai.scorers.builtin_scorers import _get_all_concrete_builtin_scorers

    if name not in [known.__name__ for known in _get_all_concrete_builtin_scorers()]:
        raise MlflowException.invalid_parameter_value(
            f"Unknown builtin scorer class: {name}", error_class="ATTRIBUTE_NOT_FOUND"
        )


def _of_built_in_class(usual: Callable[[Any], Any]) -> Any:
    @wraps(usual)
    def model_validate(_cls: type, obj: Any) -> Any:
        _refuse_unknown(obj.get(NAME) if isinstance(obj, dict) else getattr(obj, NAME, None))
        return usual(obj)

    return classmethod(model_validate)


def _with_built_in_classes(usual: Callable[[str], None]) -> Callable[[str], None]:
    @wraps(usual)
    def validate_payload(serialized_scorer: str) -> None:
        usual(serialized_scorer)
        for name in names_in(json.loads(serialized_scorer)):
            _refuse_unknown(name)

    return validate_payload
