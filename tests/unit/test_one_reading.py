"""Requests that MLflow could read in two ways."""

from __future__ import annotations

import json
from typing import Any

import pytest

from deployer.plugin.permissions.one_reading import (
    BOTH,
    DIFFERENT,
    NO_TEXT,
    SPELLING,
    without_repeats,
    wrong_with_parameters,
)

FIELDS = {"runId": "run_id", "runUuid": "run_uuid", "modelId": "model_id", "experimentIds": "experiment_ids"}
TWO_RUNS = DIFFERENT.format(name="run_id")
TWO_MODELS = DIFFERENT.format(name="model_id")
TWO_NAMES = DIFFERENT.format(name="name")
NUMBER = NO_TEXT.format(name="experiment_id")
CAMEL = SPELLING.format(name="runId", field="run_id")


@pytest.mark.parametrize(
    ("path", "query", "body", "wrong"),
    [
        # requests of real clients
        ({}, {}, {}, ""),
        ({}, {}, {"run_id": "a", "run_uuid": "a", "key": "k", "value": "v"}, ""),
        ({}, {"run_id": ["a"], "run_uuid": ["a"], "path": ["x"]}, {}, ""),
        ({}, {"experiment_ids": ["1", "2"], "order_by": ["a", "b"], "workspace": ["a", "b"]}, {}, ""),
        ({}, {"name": ["a", "a"]}, {}, ""),
        ({"model_id": "a"}, {}, {"model_id": "a", "status": 1}, ""),
        ({"version": 1}, {}, {"version": "1"}, ""),
        ({"model_id": "a"}, {"allow_deleted": ["true"]}, {}, ""),
        ({}, {}, {"operationName": "GetRun", "query": "...", "variables": {"runId": "a"}}, ""),
        ({}, {"view": ["a"]}, {}, ""),
        ({}, {}, {"role_id": 1, "role_permission_id": 2, "username": "a", "is_admin": True}, ""),
        ({}, {}, {"experiment_id": None, "max_results": 1, "tags": [{"name": 1}]}, ""),
        # requests that can be read in two ways
        *(({}, {}, {"experiment_id": value}, NUMBER) for value in (2, 2.0, True, ["2"], {})),
        ({}, {}, {"resource_id": 5}, NO_TEXT.format(name="resource_id")),
        ({}, {}, {"new_name": 5}, NO_TEXT.format(name="new_name")),
        ({"run_id": "a"}, {}, {"run_uuid": 5}, NO_TEXT.format(name="run_uuid")),
        ({}, {}, {"run_id": "a", "run_uuid": "b"}, TWO_RUNS),
        ({}, {}, {"run_id": "", "run_uuid": "b"}, TWO_RUNS),
        ({}, {}, {"run_id": None, "run_uuid": "b"}, TWO_RUNS),
        ({}, {}, {"run_uuid": "a", "runId": "b"}, CAMEL),
        ({}, {}, {"run_id": "a", "runId": "b"}, CAMEL),
        ({}, {}, {"runId": "b"}, CAMEL),
        ({}, {"run_id": ["a"], "run_uuid": ["b"]}, {}, TWO_RUNS),
        ({}, {"run_id": ["a"], "run_uuid": ["a", "b"]}, {}, DIFFERENT.format(name="run_uuid")),
        ({}, {"name": ["a", "b"]}, {}, TWO_NAMES),
        ({}, {"name": ["a"]}, {"name": "b"}, BOTH),
        ({}, {"name": ["a"]}, {"name": "a"}, BOTH),
        ({"model_id": "a"}, {}, {"model_id": "b"}, TWO_MODELS),
        ({"model_id": "a"}, {"model_id": ["b"]}, {}, TWO_MODELS),
        ({"model_id": "a"}, {"model_id": ["a", "b"]}, {}, TWO_MODELS),
        ({"run_id": "a"}, {}, {"run_uuid": "b"}, TWO_RUNS),
    ],
)
def test_ambiguous_parameters_are_refused(
    path: dict[str, Any], query: dict[str, list[str]], body: dict[str, Any], wrong: str
) -> None:
    assert wrong_with_parameters(path, query, body, FIELDS) == wrong


def test_a_parameter_that_is_a_list_may_be_repeated() -> None:
    assert wrong_with_parameters({}, {"run_id": ["a", "b"]}, {}, FIELDS) == TWO_RUNS
    assert wrong_with_parameters({}, {"run_id": ["a", "b"]}, {}, FIELDS, ("run_id",)) == ""


@pytest.mark.parametrize("text", ['{"a": 1, "a": 1}', '{"a": [{"b": 1, "b": 2}]}'])
def test_a_repeated_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="repeated"):
        json.loads(text, object_pairs_hook=without_repeats)
    assert json.loads('{"a": {"a": 1}}', object_pairs_hook=without_repeats) == {"a": {"a": 1}}
