"""Members stay within their permissions where a request names no object, or an object of several experiments.

The server's default permission is MANAGE, so that fallbacks of MLflow become visible; the tests deny members all
objects that members must not reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.local.minors import ADMIN, CASES, Server, served

V2 = "api/2.0/mlflow"
V3 = "api/3.0/mlflow"
PROXY = "api/2.0/mlflow-artifacts"

Login = tuple[str, str]


@dataclass(frozen=True)
class Scene:
    """A server with a member who is denied experiment 0."""

    server: Server
    mia: Login
    numbers: Iterator[int] = field(default_factory=count)

    def new(self, kind: str) -> str:
        return f"{kind}-{next(self.numbers)}"

    def make(self, path: str, body: Any, login: Login = ADMIN) -> Any:
        answer = self.server.ask(path, login, body)
        assert answer.ok, (path, answer.status_code, answer.text)
        return answer.json()

    def status(self, path: str, login: Login, body: Any = None, method: str | None = None) -> int:
        return int(self.server.ask(path, login, body, method).status_code)

    def put(self, path: str, login: Login = ADMIN) -> int:
        address = f"{self.server.address}/{PROXY}/artifacts/{path}"
        return requests.put(address, b"text", auth=login, timeout=60).status_code

    def set(self, experiment: str, permission: str) -> None:
        body = {"username": self.mia[0], "resource_type": "experiment", "resource_id": experiment}
        self.make(f"{V3}/users/permissions/grant", {**body, "permission": permission})

    def experiment(self, permission: str | None = None, **more: str) -> str:
        """Create an experiment, and grant the member a permission on it."""
        body = {"name": self.new("experiment"), **more}
        made = str(self.make(f"{V2}/experiments/create", body)["experiment_id"])
        if permission:
            self.set(made, permission)
        return made

    def run(self, experiment: str) -> str:
        return str(self.make(f"{V2}/runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"])

    def graphql(self, text: str, login: Login | None = None) -> Any:
        answer = self.server.ask("graphql", login or self.mia, {"operationName": "Q", "query": text, "variables": {}})
        assert answer.ok, answer.text
        return answer.json()


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def scene(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("members")
    settings = folder / "open.ini"
    settings.write_text(
        f"[mlflow]\ndefault_permission = MANAGE\ndatabase_uri = sqlite:///{folder}/auth.db\n"
        f"admin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n"
    )
    more = {"MLFLOW_AUTH_CONFIG_PATH": str(settings)}
    with served(request.param, python_of(request.param.version), folder, more) as server:
        found = Scene(server, server.member("mia"))
        found.set("0", "DENY")
        yield found


# --- requests that name no object ---


@pytest.mark.parametrize("given", ["{}", '{experimentId: ""}', "{experimentId: null}"])
def test_graphql_does_not_read_a_missing_name_as_experiment_0(scene: Scene, given: str) -> None:
    asked = f"query Q {{ mlflowGetExperiment(input: {given}) {{ experiment {{ name artifactLocation }} }} }}"
    assert scene.graphql(asked)["data"]["mlflowGetExperiment"] is None
    assert "Default" in str(scene.graphql(asked, ADMIN))


def test_graphql_returns_what_a_member_may_read(scene: Scene) -> None:
    experiment = scene.experiment("READ")
    run = scene.run(experiment)
    asked = f'query Q {{ mlflowGetExperiment(input: {{experimentId: "{experiment}"}}) {{ experiment {{ name }} }} }}'
    assert "experiment-" in str(scene.graphql(asked))
    for name in ("runId", "runUuid"):
        asked = f'query Q {{ mlflowGetRun(input: {{{name}: "{run}"}}) {{ run {{ info {{ experimentId }} }} }} }}'
        assert scene.graphql(asked)["data"]["mlflowGetRun"]["run"]["info"]["experimentId"] == experiment
    for name in ("mlflowGetRun", "mlflowListArtifacts"):
        asked = f"query Q {{ {name}(input: {{}}) {{ apiError {{ code }} }} }}"
        assert scene.graphql(asked)["data"][name] is None


def test_each_field_of_graphql_is_known(scene: Scene) -> None:
    found = scene.graphql("query Q { __schema { queryType { fields { name } } mutationType { fields { name } } } }")
    fields = {each["name"] for kind in found["data"]["__schema"].values() for each in kind["fields"]}
    protected = {"mlflowGetExperiment", "mlflowGetRun", "mlflowListArtifacts", "mlflowGetMetricHistoryBulkInterval"}
    assert fields == {
        *protected,
        *("mlflowSearchRuns", "mlflowSearchDatasets", "mlflowSearchModelVersions"),
        *("test", "testMutation"),  # these fields return their input
    }


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{V2}/runs/create", {}),
        (f"{V2}/logged-models", {"name": "model"}),
        (f"{V2}/experiments/update", {"new_name": "changed"}),
        (f"{V2}/experiments/delete", {}),
        (f"{V2}/experiments/set-experiment-tag", {"key": "tag", "value": "changed"}),
        (f"{V2}/traces", {"timestamp_ms": 1}),
        (f"{V3}/scorers/register", {"name": "mine", "serialized_scorer": '{"name": "mine"}'}),
        (f"{V3}/label-schemas/create", {"name": "mine", "type": "FEEDBACK", "title": "mine"}),
        (f"{V3}/review-queues/create", {"name": "mine", "queue_type": "CUSTOM"}),
    ],
)
def test_members_write_nothing_to_experiment_0_by_an_empty_name(scene: Scene, path: str, body: Any) -> None:
    assert scene.status(path, scene.mia, {**body, "experiment_id": ""}) in (400, 403, 404)
    found = scene.server.ask(f"{V3}/scorers/list?experiment_id=0", ADMIN).text
    assert "mine" not in found
    assert "changed" not in scene.server.ask(f"{V2}/experiments/get?experiment_id=0", ADMIN).text


@pytest.mark.parametrize(
    "path",
    [
        f"{V2}/experiments/get?",
        f"{V3}/scorers/get?name=of-0&",
        f"{V3}/scorers/versions?name=of-0&",
        f"{V3}/scorers/list?",
        f"{V3}/label-schemas/list?",
        f"{V3}/review-queues/list?",
    ],
)
def test_members_read_nothing_of_experiment_0_by_an_empty_name(scene: Scene, path: str) -> None:
    scorer = {"experiment_id": "0", "name": "of-0", "serialized_scorer": '{"name": "of-0"}'}
    scene.make(f"{V3}/scorers/register", scorer)
    answer = scene.server.ask(f"{path}experiment_id=", scene.mia)
    assert answer.status_code in (400, 403, 404) or answer.json() == {}, answer.text
    assert "of-0" not in answer.text
    assert "Default" not in answer.text


# --- artifact paths that name no experiment ---


def test_no_artifact_path_reaches_all_experiments(scene: Scene) -> None:
    experiment = scene.experiment("DENY")
    run = scene.run(experiment)
    path = f"{experiment}/{run}/artifacts/f.txt"
    assert scene.put(path) == 200
    for method, asked in (
        ("GET", "artifacts"),
        ("GET", "artifacts?path="),
        ("GET", "artifacts?path=."),
        ("GET", "artifacts?path=./."),
        ("GET", f"artifacts/?path={path}"),
        ("GET", f"presigned/other/{path}"),
        ("POST", f"mpu/create/other/{path}"),
        ("DELETE", "artifacts/%2E"),
        ("DELETE", "artifacts/%252E"),
        ("DELETE", "artifacts/.%2F."),
        ("DELETE", "artifacts/.%2F%2F"),
        ("DELETE", "artifacts/other"),
        ("DELETE", "artifacts/skills"),
        ("DELETE", f"artifacts/workspaces/default/{experiment}"),
    ):
        status = scene.status(f"{PROXY}/{asked}", scene.mia, None, method)
        assert status in (400, 403, 404, 405), (method, asked, status)
    for folder in ("", "other/", "0"):
        assert scene.put(f"{folder}{path}", scene.mia) in (400, 403), folder
    assert scene.server.ask(f"{PROXY}/artifacts/{path}", ADMIN).text == "text"
    assert scene.status(f"{PROXY}/artifacts?path=.", ADMIN) == 200


def test_members_use_the_artifacts_of_their_experiments(scene: Scene) -> None:
    experiment = scene.experiment("MANAGE")
    path = f"{experiment}/{scene.run(experiment)}/artifacts/f.txt"
    assert scene.put(path, scene.mia) == 200
    assert scene.server.ask(f"{PROXY}/artifacts/{path}", scene.mia).text == "text"
    listed = scene.server.ask(f"{PROXY}/artifacts?path={path.removesuffix('/f.txt')}", scene.mia)
    assert [found["path"] for found in listed.json()["files"]] == ["f.txt"]
    assert scene.status(f"{PROXY}/artifacts/{path}", scene.mia, None, "DELETE") == 200


def test_a_chosen_location_needs_the_permission_on_its_experiment(scene: Scene) -> None:
    folder = scene.new("team")
    first = scene.experiment(artifact_location=f"mlflow-artifacts:/{folder}/a")
    path = f"{folder}/a/{scene.run(first)}/artifacts/f.txt"
    asked = [f"{PROXY}/artifacts/{path}", f"{PROXY}/artifacts?path={folder}"]
    assert scene.put(path, scene.mia) == 200
    assert [scene.status(each, scene.mia) for each in asked] == [200, 200]
    scene.experiment("DENY", artifact_location=f"mlflow-artifacts:/{folder}/b")
    assert [scene.status(each, scene.mia) for each in asked] == [200, 403]
    assert scene.status(f"{PROXY}/artifacts/{folder}", scene.mia, None, "DELETE") == 403
    scene.set(first, "DENY")
    assert scene.status(asked[0], scene.mia) == 403


# --- datasets of several experiments ---


def test_searches_find_the_datasets_that_a_member_may_get(scene: Scene) -> None:
    open_, hidden = scene.experiment("READ"), scene.experiment("DENY")
    names = [f"{letter}-dataset" for letter in "abc"]
    for name, experiments in zip(names, ([open_], [open_, hidden], [open_]), strict=True):
        body = {"name": name, "experiment_ids": experiments, "tags": f'{{"of": "{name}"}}'}
        scene.make(f"{V3}/datasets/create", body)

    def found(login: Login, **more: Any) -> list[list[str]]:
        pages: list[list[str]] = []
        token = ""
        while not pages or token:
            body = {"experiment_ids": [open_], "max_results": 1, "order_by": ["name"], "page_token": token, **more}
            answer = scene.make(f"{V3}/datasets/search", body, login)
            pages.append([dataset["name"] for dataset in answer.get("datasets", ())])
            token = answer.get("next_page_token", "")
        return pages

    assert found(scene.mia) == [[names[0]], [names[2]]]
    assert found(ADMIN) == [[name] for name in names]
    assert found(scene.mia, filter_string=f"name = '{names[1]}'") == [[]]
    revoked = {"username": scene.mia[0], "resource_type": "experiment", "resource_id": hidden}
    scene.server.change(f"{V3}/users/permissions/revoke", revoked)
    assert found(scene.mia) == found(ADMIN)


# --- names that differ only in case ---


@pytest.mark.parametrize("name", ["MIA", "Mia", "mia "])
def test_no_two_new_users_differ_in_case_alone(scene: Scene, name: str) -> None:
    body = {"username": name, "password": "the-password-of-another"}
    assert scene.status(f"{V2}/users/create", ADMIN, body) == 400
    assert scene.status(f"{V2}/users/get?username={name}", ADMIN) == 404


def test_case_is_ignored_for_all_letters(scene: Scene) -> None:
    scene.server.member("Zoë")
    assert scene.status(f"{V2}/users/create", ADMIN, {"username": "zoË", "password": "the-password-of-another"}) == 400
    scene.server.member("Zoëy")
