"""Walks through serialized scorers; does not import deployer.

A serialized scorer may contain other scorers: an ensemble contains a list of them, and a judge with memory contains a
base judge. MLflow's own functions look at only some of them. For example, they skip the scorers of an ensemble
(mlflow/genai/scorers/scorer_utils.py `extract_model_from_serialized_scorer`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def entries(scorer: Any) -> Iterator[tuple[str, Any]]:
    """Yield all keys of a decoded scorer with their values, at any depth; elements of a list have the list's key."""
    left = [("", scorer)]
    while left:
        key, value = left.pop()
        yield key, value
        if isinstance(value, dict):
            left.extend(value.items())
        elif isinstance(value, list):
            left.extend((key, element) for element in value)
