"""Scorers follow the permissions on their experiment."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.local.minors import ADMIN, CASES, served
from tests.local.test_permissions import GRANT, V3, Login, Scene, endpoint

REVOKE = f"{V3}/users/permissions/revoke"
SCORERS = f"{V3}/scorers"
GUARDRAILS = f"{V3}/gateway/guardrails"


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def scene(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    with served(request.param, python_of(request.param.version), tmp_path_factory.mktemp("owners")) as server:
        yield Scene(server, server.member("mia"), server.member("owner"))


def register(scene: Scene, experiment: str, name: str, login: Login) -> None:
    body = {"experiment_id": experiment, "name": name, "serialized_scorer": '{"name": "judge"}'}
    scene.make(f"{SCORERS}/register", body, login)


# --- scorers and their experiment ---


@pytest.mark.parametrize("prefix", ["api", "ajax-api"])
def test_a_scorer_is_closed_with_its_experiment(scene: Scene, prefix: str) -> None:
    experiment, name = scene.experiment(), scene.new("scorer")
    member, friend = (scene.server.member(scene.new(each)) for each in ("member", "friend"))
    scene.grant("experiment", experiment, "EDIT", member)
    register(scene, experiment, name, member)
    register(scene, experiment, name, member)
    scorer, scorers = {"experiment_id": experiment, "name": name}, f"{prefix}/3.0/mlflow/scorers"
    asked = f"experiment_id={experiment}&name={name}"
    grant = {"resource_type": "scorer", "resource_id": f"{experiment}/{name}", "username": friend[0]}

    def statuses() -> list[int]:
        return [
            scene.status(f"{scorers}/get?{asked}", member),
            scene.status(f"{scorers}/versions?{asked}", member),
            scene.status(GRANT, member, {**grant, "permission": "READ"}),
            scene.status(REVOKE, member, grant),
            scene.status(f"{scorers}/delete", member, {**scorer, "version": 1}, "DELETE"),
        ]

    scene.make(REVOKE, {"username": member[0], "resource_type": "experiment", "resource_id": experiment})
    assert statuses() == [403] * 5
    assert scene.status(f"{scorers}/delete", member, scorer, "DELETE") == 403
    scene.grant("experiment", experiment, "READ", member)
    assert statuses() == [200] * 5
    assert scene.status(f"{scorers}/delete", member, scorer, "DELETE") == 200


def test_a_denied_experiment_hides_its_scorers(scene: Scene) -> None:
    experiment, name = scene.experiment(scene.owner), scene.new("scorer")
    reader = scene.server.member(scene.new("reader"))
    register(scene, experiment, name, scene.owner)
    scene.role(reader, "scorer", "*", "READ")
    scene.role(reader, "experiment", "*", "READ")
    asked = [f"{SCORERS}/{route}?experiment_id={experiment}&name={name}" for route in ("get", "versions")]
    assert [scene.status(each, reader) for each in asked] == [200, 200]
    scene.grant("experiment", experiment, "DENY", reader)
    assert [scene.status(each, reader) for each in asked] == [403, 403]


def test_a_denied_experiment_lends_no_scorer_to_a_guardrail(scene: Scene) -> None:
    experiment, name = scene.experiment(), scene.new("scorer")
    editor = scene.server.member(scene.new("editor"))
    register(scene, experiment, name, ADMIN)
    found = scene.make(f"{SCORERS}/get?experiment_id={experiment}&name={name}", None, method="GET")["scorer"]
    guardrail = {"name": name, "scorer_id": found["scorer_id"], "scorer_version": 1}
    made = scene.make(f"{GUARDRAILS}/create", {**guardrail, "stage": "BEFORE", "action": "VALIDATION"})["guardrail"]
    _, identifier = endpoint(scene)
    scene.grant("gateway_endpoint", identifier, "EDIT", editor)
    added = {"endpoint_id": identifier, "guardrail_id": made["guardrail_id"]}
    scene.grant("experiment", experiment, "DENY", editor)
    assert scene.status(f"{GUARDRAILS}/add-to-endpoint", editor, added) == 403
    scene.make(REVOKE, {"username": editor[0], "resource_type": "experiment", "resource_id": experiment})
    assert scene.status(f"{GUARDRAILS}/add-to-endpoint", editor, added) == 200
