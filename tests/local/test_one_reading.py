"""Requests that name one object to MLflow's permission check and another object to its handler."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.local.minors import ADMIN, CASES, Server, served

V2 = "api/2.0/mlflow"
V3 = "api/3.0/mlflow"
AJAX = "ajax-api/2.0/mlflow"
JSON, TEXT = "application/json", "text/plain"


@dataclass(frozen=True)
class Person:
    """A member, and the objects of the member."""

    login: tuple[str, str]
    experiment: str
    run: str
    logged_model: str
    dataset: str
    trace: str
    model: str  # a registered model with a tag, an alias, and a version with a tag


@dataclass(frozen=True)
class Scene:
    """Two members without permissions on each other's objects."""

    server: Server
    mine: Person
    victim: Person

    def send(
        self, method: str, path: str, text: str | None = None, kind: str | None = JSON, login: Any = None
    ) -> requests.Response:
        """Send a body unchanged, by default as the first member."""
        headers = {"Content-Type": kind} if kind else {}
        url = f"{self.server.address}/{path}"
        return requests.request(method, url, data=text, auth=login or self.mine.login, headers=headers, timeout=60)

    def of_victim(self) -> list[Any]:
        """Return the objects of the second member, as the administrator sees them."""
        victim = self.victim
        paths = (
            f"{V2}/runs/get?run_id={victim.run}",
            f"{V2}/artifacts/list?run_id={victim.run}",
            f"{V2}/registered-models/get?name={victim.model}",
            f"{V2}/model-versions/get?name={victim.model}&version=1",
            f"{V2}/logged-models/{victim.logged_model}",
            f"{V3}/datasets/search?experiment_ids={victim.experiment}",
            f"{V3}/scorers/list?experiment_id={victim.experiment}",
        )
        return [self.server.ask(path, ADMIN).json() for path in paths]


def populated(server: Server, name: str) -> Person:
    """Create a member with objects of each kind."""
    login = server.member(name)

    def make(path: str, body: Any, method: str = "POST") -> Any:
        answer = server.ask(path, login, body, method)
        answer.raise_for_status()
        return answer.json()

    experiment = make(f"{V2}/experiments/create", {"name": f"of-{name}"})["experiment_id"]
    run = make(f"{V2}/runs/create", {"experiment_id": experiment, "start_time": 1})["run"]["info"]["run_id"]
    make(f"{V2}/runs/set-tag", {"run_id": run, "key": "tag", "value": name})
    logged = make(f"{V2}/logged-models", {"experiment_id": experiment, "name": "m"})["model"]["info"]["model_id"]
    dataset = make(f"{V3}/datasets/create", {"name": f"of-{name}", "experiment_ids": [experiment]})["dataset"]
    begun = make(f"{V2}/traces", {"experiment_id": experiment, "timestamp_ms": 1})
    model = {"name": f"of-{name}"}
    make(f"{V2}/registered-models/create", {**model, "tags": [{"key": "tag", "value": name}]})
    version = {**model, "source": f"runs:/{run}/m", "run_id": run, "tags": [{"key": "tag", "value": name}]}
    make(f"{V2}/model-versions/create", version)
    make(f"{V2}/registered-models/alias", {**model, "alias": "best", "version": "1"})
    scorer = {"experiment_id": experiment, "name": "scorer", "serialized_scorer": '{"name": "scorer"}'}
    make(f"{V3}/scorers/register", scorer)
    trace = begun["trace_info"]["request_id"]
    return Person(login, experiment, run, logged, dataset["dataset_id"], trace, model["name"])


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def scene(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("reading")
    with served(request.param, python_of(request.param.version), folder) as server:
        yield Scene(server, populated(server, "mallory"), populated(server, "alice"))


Attack = Callable[[Person, Person], tuple[str, str, Any, str | None]]


def on_run(action: str, **more: Any) -> Attack:
    def attack(mine: Person, victim: Person) -> tuple[str, str, Any, str]:
        return "POST", f"{V2}/runs/{action}", {"run_uuid": mine.run, "runId": victim.run, **more}, JSON

    return attack


def deletion(path: str, **more: str) -> Attack:
    query = "".join(f"&{name}={value}" for name, value in more.items())

    def attack(mine: Person, victim: Person) -> tuple[str, str, Any, str]:
        return "DELETE", f"{V2}/{path}?name={mine.model}{query}", {"name": victim.model, **more}, TEXT

    return attack


TAG = {"key": "tag", "value": "changed"}
METRIC = {"key": "m", "value": 1, "timestamp": 1, "step": 1}
READER = {"resource_type": "experiment", "permission": "READ"}
OF_PROMPT_LAB = {
    "run_name": "x",
    "prompt_template": "t",
    "prompt_parameters": [{"key": "a", "value": "b"}],
    "model_route": "r",
    "model_input": "i",
    "mlflow_version": "3",
}


def model(mine: Person, victim: Person) -> tuple[str, str, Any, str]:
    of_run = {"artifact_path": "x", "run_id": victim.run, "utc_time_created": "2026", "flavors": {}}
    return on_run("log-model", model_json=json.dumps(of_run))(mine, victim)


ATTACKS: dict[str, Attack] = {
    "set a tag": on_run("set-tag", **TAG),
    "delete a tag": on_run("delete-tag", key="tag"),
    "log a metric": on_run("log-metric", **METRIC),
    "log a parameter": on_run("log-parameter", key="p", value="changed"),
    "log a batch": on_run("log-batch", tags=[TAG]),
    "log a model": model,
    "log inputs": on_run("log-inputs", datasets=[{"dataset": {"name": "d", "digest": "1", "source_type": "a"}}]),
    "update a run": on_run("update", status="FAILED"),
    "update a run, in snake case": lambda mine, victim: (
        "POST",
        f"{V2}/runs/update",
        {"run_id": mine.run, "run_uuid": victim.run, "status": "FAILED"},
        JSON,
    ),
    "delete a run": on_run("delete"),
    "upload to a run": lambda mine, victim: (
        "POST",
        f"{AJAX}/upload-artifact?run_id={mine.run}&run_uuid={victim.run}&path=x",
        "changed",
        TEXT,
    ),
    "delete a model's tag": deletion("registered-models/delete-tag", key="tag"),
    "delete a model's alias": deletion("registered-models/alias", alias="best"),
    "delete a version's tag": deletion("model-versions/delete-tag", version="1", key="tag"),
    "delete a version": deletion("model-versions/delete", version="1"),
    "delete a model": deletion("registered-models/delete"),
    "delete a model without a kind": lambda mine, victim: (
        "DELETE",
        f"{V2}/registered-models/delete?name={mine.model}",
        {"name": victim.model},
        None,
    ),
    "delete a scorer": lambda mine, victim: (
        "DELETE",
        f"{V3}/scorers/delete?experiment_id={mine.experiment}&name=scorer",
        {"experiment_id": victim.experiment, "name": "scorer"},
        TEXT,
    ),
    "search datasets": lambda mine, victim: (
        "GET",
        f"{V3}/datasets/search?experiment_ids={victim.experiment}",
        {"experiment_ids": [mine.experiment]},
        JSON,
    ),
    "search datasets, with a query": lambda _, victim: (
        "POST",
        f"{V3}/datasets/search?experiment_ids={victim.experiment}",
        None,
        None,
    ),
    "search datasets, with a query and an empty object": lambda mine, _: (
        "POST",
        f"{V3}/datasets/search?experiment_ids={mine.experiment}",
        {},
        JSON,
    ),
    "search datasets, read in part": lambda mine, _: (
        "POST",
        f"{V3}/datasets/search",
        {"max_results": 100, "order_by": [5], "experiment_ids": [mine.experiment]},
        JSON,
    ),
    "search datasets, with a wrong number": lambda mine, _: (
        "POST",
        f"{V3}/datasets/search",
        {"max_results": "many", "experiment_ids": [mine.experiment]},
        JSON,
    ),
    "search datasets, with half a character": lambda mine, _: (
        "POST",
        f"{V3}/datasets/search",
        {"filter_string": "\ud800", "experiment_ids": [mine.experiment]},
        JSON,
    ),
    "add a dataset to an experiment, with a query": lambda mine, victim: (
        "POST",
        f"{V3}/datasets/{mine.dataset}/add-experiments?experiment_ids={victim.experiment}",
        None,
        None,
    ),
    "create a run, read in part": lambda mine, _: (
        "POST",
        f"{V2}/runs/create",
        {"tags": [5], "experiment_id": mine.experiment},
        JSON,
    ),
    "create a run in the prompt lab, with a number": lambda mine, _: (
        "POST",
        f"{AJAX}/runs/create-promptlab-run",
        {**OF_PROMPT_LAB, "experiment_id": float(mine.experiment)},
        JSON,
    ),
    "grant a permission, with a number": lambda mine, victim: (
        "POST",
        f"{V3}/users/permissions/grant",
        {**READER, "username": victim.login[0], "resource_id": int(mine.experiment)},
        JSON,
    ),
    "create a dataset, encoded twice": lambda mine, victim: (
        "POST",
        f"{V3}/datasets/create?experiment_ids={mine.experiment}",
        json.dumps(json.dumps({"name": "twice", "experiment_ids": [victim.experiment]})),
        JSON,
    ),
    "add a dataset to an experiment": lambda mine, victim: (
        "POST",
        f"{V3}/datasets/{mine.dataset}/add-experiments?experiment_ids={mine.experiment}",
        json.dumps(json.dumps({"experiment_ids": [victim.experiment]})),
        JSON,
    ),
    "finalize a logged model": lambda mine, victim: (
        "PATCH",
        f"{V2}/logged-models/{mine.logged_model}",
        {"model_id": victim.logged_model, "status": 3},
        JSON,
    ),
    "read traces, in camel case": lambda _, victim: (
        "POST",
        f"{V3}/traces/batchGetInfos",
        {"traceIds": [victim.trace]},
        JSON,
    ),
    "link a trace, in camel case": lambda mine, victim: (
        "POST",
        f"{V2}/traces/link-to-run",
        {"run_id": mine.run, "traceIds": [victim.trace]},
        JSON,
    ),
    "read a logged model": lambda mine, victim: (
        "GET",
        f"{V2}/logged-models/{victim.logged_model}?model_id={mine.logged_model}",
        None,
        None,
    ),
    "a key twice": lambda mine, victim: (
        "POST",
        f"{V2}/runs/set-tag",
        f'{{"run_id": "{mine.run}", "run_id": "{victim.run}", "key": "tag", "value": "changed"}}',
        JSON,
    ),
    "a parameter twice": lambda mine, victim: (
        "GET",
        f"{V2}/runs/get?run_id={mine.run}&run_id={victim.run}",
        None,
        None,
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_ambiguous_request_is_refused(scene: Scene, name: str) -> None:
    method, path, body, kind = ATTACKS[name](scene.mine, scene.victim)
    text = body if body is None or isinstance(body, str) else json.dumps(body)
    before = scene.of_victim()
    answer = scene.send(method, path, text, kind)
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), answer.text
    assert scene.of_victim() == before


def test_strangers_learn_nothing(scene: Scene) -> None:
    path, text = f"{V2}/registered-models/delete?name=a", '{"name": "b"}'
    for login in (("nobody", "the-password-of-nobody"), (scene.mine.login[0], "another-password")):
        assert scene.send("DELETE", path, text, TEXT, login).status_code == 401


def test_deleting_a_model_deletes_its_permissions(scene: Scene) -> None:
    body = {"name": "passed-on"}
    scene.server.ask(f"{V2}/registered-models/create", scene.mine.login, body).raise_for_status()
    path = f"{V2}/registered-models/delete"
    for text, kind in ((json.dumps(json.dumps(body)), TEXT), (json.dumps(json.dumps(body)), JSON)):
        answer = scene.send("DELETE", f"{path}?name=passed-on", text, kind)
        assert answer.status_code == 400, answer.text
    scene.server.ask(path, scene.mine.login, body, "DELETE").raise_for_status()
    scene.server.ask(f"{V2}/registered-models/create", scene.victim.login, body).raise_for_status()
    read = scene.server.ask(f"{V2}/registered-models/get?name=passed-on", scene.mine.login)
    assert read.status_code == 403, read.text


PROMPT = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]


def test_no_model_or_prompt_can_be_named_star(scene: Scene) -> None:
    for login in (scene.mine.login, ADMIN):
        for path, body in (
            ("registered-models/create", {"name": "*"}),
            ("registered-models/create", {"name": "*", "tags": PROMPT}),
            ("registered-models/rename", {"name": scene.mine.model, "new_name": "*"}),
        ):
            answer = scene.server.ask(f"{V2}/{path}", login, body)
            assert answer.status_code == 400, answer.text
    update = {"name": scene.victim.model, "description": "changed"}
    assert scene.server.ask(f"{V2}/registered-models/update", scene.mine.login, update, "PATCH").status_code == 403
    renamed = {"name": scene.mine.model, "new_name": f"{scene.mine.model}-2"}
    scene.server.ask(f"{V2}/registered-models/rename", scene.mine.login, renamed).raise_for_status()
    back = {"name": f"{scene.mine.model}-2", "new_name": scene.mine.model}
    scene.server.ask(f"{V2}/registered-models/rename", scene.mine.login, back).raise_for_status()


def test_a_manager_of_all_models_grants_only_permissions_on_single_models(scene: Scene) -> None:
    manager, path = scene.server.member("manager"), f"{V3}/users/permissions/grant"
    grant = {"username": manager[0], "resource_type": "registered_model", "resource_id": "*", "permission": "MANAGE"}
    scene.server.change(path, grant)  # by the administrator
    answer = scene.server.ask(path, manager, {**grant, "username": scene.mine.login[0]})
    assert answer.status_code == 403, answer.text
    one = {**grant, "username": scene.mine.login[0], "resource_id": scene.victim.model, "permission": "READ"}
    scene.server.ask(path, manager, one).raise_for_status()


def test_requests_of_clients_are_served(scene: Scene) -> None:
    mine = scene.mine
    run, name = {"run_id": mine.run, "run_uuid": mine.run}, {"name": mine.model}
    charset = f"{JSON}; charset=utf-8"
    for method, path, body, kind in (
        ("POST", f"{V2}/runs/log-metric", {**run, **METRIC}, JSON),
        ("POST", f"{V2}/runs/update", {**run, "status": "RUNNING"}, charset),
        ("GET", f"{V2}/runs/get?run_id={mine.run}&run_uuid={mine.run}", None, None),
        ("GET", f"{V2}/runs/get?run_uuid={mine.run}", None, charset),  # MLflow's pages always declare a body
        ("GET", f"{AJAX}/metrics/get-history-bulk?run_id={mine.run}&run_id={mine.run}&metric_key=m", None, None),
        ("GET", f"{V3}/datasets/search?experiment_ids={mine.experiment}&experiment_ids={mine.experiment}", None, None),
        ("POST", f"{AJAX}/upload-artifact?run_uuid={mine.run}&path=x.json", {"run_uuid": "of a file"}, JSON),
        ("PUT", f"api/2.0/mlflow-artifacts/artifacts/{mine.experiment}/x.json", '"text"', JSON),
        ("POST", f"{V2}/registered-models/set-tag", {**name, "key": "k", "value": "v"}, JSON),
        ("DELETE", f"{V2}/registered-models/delete-tag", {**name, "key": "k"}, JSON),
        ("PATCH", f"{V2}/logged-models/{mine.logged_model}", {"model_id": mine.logged_model, "status": 2}, JSON),
        ("DELETE", f"{V2}/logged-models/{mine.logged_model}", {"model_id": mine.logged_model}, JSON),
        ("POST", f"{AJAX}/runs/create-promptlab-run", {**OF_PROMPT_LAB, "experiment_id": mine.experiment}, JSON),
        ("POST", "graphql", {"operationName": "Q", "query": "query Q { __typename }", "variables": {}}, JSON),
    ):
        text = body if body is None or isinstance(body, str) else json.dumps(body)
        answer = scene.send(method, path, text, kind)
        assert answer.ok, (method, path, answer.status_code, answer.text)


def test_a_new_user_is_signed_up_by_a_form(scene: Scene) -> None:
    session = requests.Session()
    session.auth = ADMIN
    page = session.get(f"{scene.server.address}/signup", timeout=60).text
    token = page.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]
    form = {"username": "by-form", "password": "the-password-of-by-form", "csrf_token": token}
    answer = session.post(f"{scene.server.address}/{V2}/users/create-ui", data=form, timeout=60)
    assert answer.ok, answer.text
    login = (form["username"], form["password"])
    assert scene.server.ask(f"{V2}/users/current", login).ok
