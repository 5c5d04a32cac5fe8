"""Permissions hold for one object, under each spelling of its name, and reveal nothing about other objects."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.local.minors import ADMIN, CASES, Server, served

CHECKOUT = Path(__file__).resolve().parents[2]
V2 = "api/2.0/mlflow"
V3 = "api/3.0/mlflow"
FILES = "api/2.0/mlflow-artifacts/artifacts"
MCP = f"{V3}/mcp-servers"
SKILLS = f"{V3}/skills"
GRANT = f"{V3}/users/permissions/grant"
PROMPT = [{"key": "mlflow.prompt.is_prompt", "value": "true"}]
HAS_SKILLS = REFUSES_NAMES = "3.18.0"  # MLflow renames no model to a name with permissions

Login = tuple[str, str]


@dataclass(frozen=True)
class Scene:
    """A server with two members."""

    server: Server
    mia: Login
    owner: Login
    numbers: Iterator[int] = field(default_factory=count)

    def new(self, kind: str) -> str:
        return f"{kind}-{next(self.numbers)}"

    def make(self, path: str, body: Any, login: Login = ADMIN, method: str = "POST") -> Any:
        answer = self.server.ask(path, login, body, method)
        assert answer.ok, (path, answer.status_code, answer.text)
        return answer.json() if answer.text else None

    def status(self, path: str, login: Login, body: Any = None, method: str | None = None) -> int:
        return int(self.server.ask(path, login, body, method).status_code)

    def grant(self, kind: str, name: str, permission: str = "MANAGE", to: Login | None = None) -> None:
        body = {"username": (to or self.mia)[0], "resource_type": kind, "resource_id": name, "permission": permission}
        self.make(GRANT, body)

    def role(self, member: Login, kind: str, pattern: str, permission: str) -> None:
        role = self.make(f"{V3}/roles/create", {"name": self.new("role"), "workspace": "default"})["role"]["id"]
        grant = {"role_id": role, "resource_type": kind, "resource_pattern": pattern, "permission": permission}
        self.make(f"{V3}/roles/permissions/add", grant)
        self.make(f"{V3}/roles/assign", {"role_id": role, "username": member[0]})

    def experiment(self, login: Login = ADMIN) -> str:
        return str(self.make(f"{V2}/experiments/create", {"name": self.new("experiment")}, login)["experiment_id"])


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def scene(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    with served(request.param, python_of(request.param.version), tmp_path_factory.mktemp("permissions")) as server:
        yield Scene(server, server.member("mia"), server.member("owner"))


def test_the_documented_program_adds_a_member(scene: Scene) -> None:
    """The program uses MLflow's client and reads the password from standard input."""
    (program,) = re.findall(r"```python\n(.*?)```", (CHECKOUT / "docs/credentials.md").read_text(), re.DOTALL)
    login = {"MLFLOW_TRACKING_USERNAME": ADMIN[0], "MLFLOW_TRACKING_PASSWORD": ADMIN[1]}
    env = {"PATH": "/usr/bin:/bin", "HOME": str(scene.server.log.parent), "MLFLOW_TRACKING_URI": scene.server.address}
    alice, python = ("alice", "the-password-of-alice"), scene.server.python
    subprocess.run([python, "-c", program], env=env | login, input=alice[1], text=True, check=True, timeout=300)
    shared = f"{V2}/experiments/get-by-name?experiment_name=shared"
    assert [scene.status(shared, login) for login in (alice, scene.mia)] == [200, 403]


# --- old permissions of an earlier object ---


@pytest.mark.parametrize(("kind", "tags"), [("registered_model", []), ("prompt", PROMPT)])
@pytest.mark.parametrize("left", ["registered_model", "prompt"])
def test_a_new_model_or_prompt_has_no_old_permissions(scene: Scene, kind: str, tags: Any, left: str) -> None:
    name = scene.new("model")
    scene.grant(left, name)
    scene.make(f"{V2}/registered-models/create", {"name": name, "tags": tags}, scene.owner)
    assert scene.status(f"{V2}/registered-models/get?name={name}", scene.mia) == 403
    assert scene.status(f"{V2}/registered-models/get?name={name}", scene.owner) == 200
    assert scene.status(f"{V2}/registered-models/delete", scene.mia, {"name": name}, "DELETE") == 403


def test_a_new_model_of_an_administrator_has_no_old_permissions(scene: Scene) -> None:
    name = scene.new("model")
    scene.grant("registered_model", name)
    scene.make(f"{V2}/registered-models/create", {"name": name})
    assert scene.status(f"{V2}/registered-models/get?name={name}", scene.mia) == 403


def test_a_renamed_model_keeps_its_permissions_and_gets_no_others(scene: Scene) -> None:
    old, new = scene.new("model"), scene.new("model")
    scene.make(f"{V2}/registered-models/create", {"name": old}, scene.owner)
    reader = scene.server.member(scene.new("reader"))
    scene.grant("registered_model", old, "READ", reader)
    scene.grant("registered_model", new)
    scene.grant("prompt", new)
    renamed = scene.status(f"{V2}/registered-models/rename", scene.owner, {"name": old, "new_name": new})
    if scene.server.case.version == REFUSES_NAMES:
        assert renamed == 400
        return
    assert renamed == 200
    asked = f"{V2}/registered-models/get?name={new}"
    assert [scene.status(asked, login) for login in (scene.mia, reader, scene.owner)] == [403, 200, 200]


@pytest.mark.parametrize(("kind", "tags"), [("registered_model", []), ("prompt", PROMPT)])
@pytest.mark.parametrize("of_role", ["old", "new"])
def test_a_rename_moves_no_model_to_or_from_a_permission_of_a_role(
    scene: Scene, kind: str, tags: Any, of_role: str
) -> None:
    names = {"old": scene.new("model"), "new": scene.new("model")}
    editor, other = (scene.server.member(scene.new(each)) for each in ("editor", "other"))
    scene.make(f"{V2}/registered-models/create", {"name": names["old"], "tags": tags}, scene.owner)
    scene.grant(kind, names["old"], "EDIT", editor)
    scene.role(other, kind, names[of_role], "DENY")
    rename = {"name": names["old"], "new_name": names["new"]}
    assert scene.status(f"{V2}/registered-models/rename", editor, rename) == 400
    assert scene.status(f"{V2}/registered-models/get?name={names['old']}", editor) == 200
    by_administrator = scene.status(f"{V2}/registered-models/rename", ADMIN, rename)
    assert by_administrator == (400 if scene.server.case.version == REFUSES_NAMES else 200)


def test_a_new_experiment_has_no_old_permissions(scene: Scene) -> None:
    following = str(int(scene.experiment()) + 1)
    scene.grant("experiment", following)
    assert scene.experiment(scene.owner) == following
    assert scene.status(f"{V2}/experiments/get?experiment_id={following}", scene.mia) == 403
    assert scene.status(f"{V2}/experiments/get?experiment_id={following}", scene.owner) == 200


def test_a_new_scorer_has_no_old_permissions(scene: Scene) -> None:
    experiment = scene.experiment(scene.owner)
    scene.grant("experiment", experiment, "READ")
    scene.grant("scorer", f"{experiment}/a%2Fb")
    scorer = {"experiment_id": experiment, "name": "a/b"}
    scene.make(f"{V3}/scorers/register", {**scorer, "serialized_scorer": '{"name": "a/b"}'}, scene.owner)
    assert scene.status(f"{V3}/scorers/delete", scene.mia, scorer, "DELETE") == 403
    assert scene.status(f"{V3}/scorers/delete", scene.owner, scorer, "DELETE") == 200


@pytest.mark.parametrize("by_its_version", [False, True])
def test_a_new_mcp_server_has_no_old_permissions(scene: Scene, by_its_version: bool) -> None:
    name = f"com.example/{scene.new('server')}"
    scene.grant("mcp_server", name)
    if by_its_version:
        version = {"server_json": {"name": name, "version": "1.0.0"}}
        scene.make(f"{MCP}/{name}/versions", version, scene.owner)
    else:
        scene.make(MCP, {"name": name}, scene.owner)
    asked = f"{MCP}/{name}"
    assert [scene.status(asked, login) for login in (scene.mia, scene.owner)] == [403, 200]


def test_a_line_break_after_a_name_does_not_bypass_a_denial(scene: Scene) -> None:
    """FastAPI's routes ignore a line break at the end of the path, and MLflow's permission check does not."""
    member, name = scene.server.member(scene.new("member")), f"com.example/{scene.new('server')}"
    scene.make(MCP, {"name": name}, scene.owner)
    scene.role(member, "mcp_server", "*", "MANAGE")
    scene.grant("mcp_server", name, "DENY", to=member)
    asked = f"{MCP}/{name}"
    assert scene.status(asked, member) == 403
    for method in ("GET", "PATCH", "DELETE"):
        body = {"description": "changed"} if method == "PATCH" else None
        assert scene.status(f"{asked}%0A", member, body, method) == 400
    assert scene.status(f"{MCP}%0A", member) == 400
    assert scene.status(asked, scene.owner) == 200


def test_a_new_skill_has_no_old_permissions(scene: Scene) -> None:
    if scene.server.case.version != HAS_SKILLS:
        pytest.skip("this MLflow has no skills")
    name = scene.new("skill")
    scene.grant("skill", name)
    scene.grant("skill", f"@team/{name}")
    for organization in ("", "team"):
        scene.make(SKILLS, {"name": name, "organization": organization}, scene.owner)
    for path in (name, f"@team/{name}"):
        asked = f"{SKILLS}/{path}"
        assert [scene.status(asked, login) for login in (scene.mia, scene.owner)] == [403, 200]


def test_a_roles_permissions_hold_for_new_objects(scene: Scene) -> None:
    member, name = scene.server.member(scene.new("member")), scene.new("model")
    scene.role(member, "registered_model", name, "READ")
    scene.make(f"{V2}/registered-models/create", {"name": name}, scene.owner)
    assert scene.status(f"{V2}/registered-models/get?name={name}", member) == 200


def test_members_grant_permissions_only_on_existing_objects_and_to_others(scene: Scene) -> None:
    name, friend = scene.new("model"), scene.server.member(scene.new("friend"))
    grant = {"resource_type": "registered_model", "resource_id": name, "permission": "READ"}
    scene.grant("registered_model", name)
    assert scene.status(GRANT, scene.mia, {**grant, "username": friend[0]}) == 404
    scene.make(f"{V2}/registered-models/create", {"name": name}, scene.mia)
    assert scene.status(GRANT, scene.mia, {**grant, "username": friend[0]}) == 200
    assert scene.status(f"{V2}/registered-models/get?name={name}", friend) == 200
    assert scene.status(GRANT, friend, {**grant, "username": scene.owner[0]}) == 403
    manager = scene.server.member(scene.new("manager"))
    scene.role(manager, "registered_model", name, "MANAGE")
    assert scene.status(GRANT, manager, {**grant, "username": manager[0], "permission": "MANAGE"}) == 403


def test_a_grant_fails_when_its_giver_loses_the_permission_meanwhile(scene: Scene) -> None:
    name, friend = scene.new("model"), scene.server.member(scene.new("friend"))
    scene.make(f"{V2}/registered-models/create", {"name": name}, scene.mia)
    grant = {"username": friend[0], "resource_type": "registered_model", "resource_id": name, "permission": "MANAGE"}
    logins = sqlite3.connect(scene.server.log.with_name("auth.db"), isolation_level=None)
    with closing(logins), ThreadPoolExecutor(1) as pool:
        logins.execute("BEGIN IMMEDIATE")  # the request reads permissions, then waits for this lock
        logins.execute("DELETE FROM role_permissions WHERE resource_pattern = ?", (name,))
        answer = pool.submit(scene.status, GRANT, scene.mia, grant)
        time.sleep(2)
        logins.execute("COMMIT")
        assert answer.result() == 403
    assert scene.status(f"{V2}/registered-models/get?name={name}", friend) == 403


# --- the spellings of an experiment ---


@pytest.mark.parametrize("spelling", ["0{}", "%20{}", "%2B{}", "{}%20", "0_{}"])
def test_a_denial_holds_for_each_spelling_of_an_experiment(scene: Scene, spelling: str) -> None:
    experiment, member = scene.experiment(), scene.server.member(scene.new("member"))
    scene.role(member, "experiment", "*", "EDIT")
    asked = f"{V2}/experiments/get?experiment_id={spelling.format(experiment)}"
    assert scene.status(asked, member) == 200
    scene.grant("experiment", experiment, "DENY", member)
    assert scene.status(asked, member) == 403
    written = spelling.replace("%20", " ").replace("%2B", "+").format(experiment)
    for path, body in (
        ("runs/create", {"experiment_id": written}),
        ("runs/search", {"experiment_ids": [written]}),
        ("experiments/update", {"experiment_id": written, "new_name": "changed"}),
    ):
        answer = scene.server.ask(f"{V2}/{path}", member, body)
        assert answer.status_code == 403 or answer.json() == {}, answer.text
    query = f'query Q {{ mlflowGetExperiment(input: {{experimentId: "{written}"}}) {{ experiment {{ name }} }} }}'
    answer = scene.server.ask("graphql", member, {"operationName": "Q", "query": query, "variables": {}})
    assert "experiment-" not in answer.text, answer.text


def test_a_denial_holds_for_each_spelling_of_an_artifact(python_of: Callable[[str], str], tmp_path: Path) -> None:
    case = CASES[0]  # this version checks the default permission for other spellings
    open_to_all = tmp_path / "open.ini"
    open_to_all.write_text(
        f"[mlflow]\ndefault_permission = EDIT\ndatabase_uri = sqlite:///{tmp_path}/auth.db\n"
        f"admin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n"
    )
    more = {"MLFLOW_AUTH_CONFIG_PATH": str(open_to_all)}
    with served(case, python_of(case.version), tmp_path, more) as server:
        scene = Scene(server, server.member("mia"), server.member("owner"))
        experiment = scene.experiment()
        run = scene.make(f"{V2}/runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
        path, of_server = f"{experiment}/{run}/artifacts/f.txt", "api/2.0/mlflow-artifacts/artifacts"
        put = requests.put(f"{server.address}/{of_server}/{path}", b"text", auth=ADMIN, timeout=60)
        assert put.ok, put.text
        spellings = ("", "%2e/", "%252e/", "%2e/%2e/")
        asked = [f"{of_server}/{spelling}{path}" for spelling in spellings]
        assert [scene.status(each, scene.mia) for each in asked] == [200] * len(asked)
        listed = f"{of_server}?path=./{experiment}"
        assert scene.status(listed, scene.mia) == 200
        scene.grant("experiment", experiment, "DENY")
        assert [scene.status(each, scene.mia) for each in (*asked, listed)] == [403] * (len(asked) + 1)


# --- answers about objects of other users ---


def test_budgets_are_for_administrators(scene: Scene) -> None:
    for path in ("list", "windows", "get?budget_policy_id=x"):
        assert scene.status(f"{V3}/gateway/budgets/{path}", scene.mia) == 403
    for path in ("list", "windows"):
        assert scene.status(f"{V3}/gateway/budgets/{path}", ADMIN) == 200


def test_review_queues_reveal_nothing_about_hidden_queues(scene: Scene) -> None:
    experiment, reader = scene.experiment(), scene.server.member(scene.new("reader"))
    editor, name = scene.server.member(scene.new("editor")), scene.new("queue")
    for user in ("bob", "bob", reader[0], reader[0]):
        body = {"experiment_id": experiment, "name": f"{name}-{user}-{next(scene.numbers)}", "users": [user]}
        scene.make(f"{V3}/review-queues/create", {**body, "queue_type": "CUSTOM"})
    scene.grant("experiment", experiment, "READ", reader)
    scene.grant("experiment", experiment, "EDIT", editor)

    def pages(login: Login, user: str) -> list[int]:
        found, token = [], ""
        while not found or token:
            asked = f"{V3}/review-queues/list?experiment_id={experiment}&max_results=1{user}&page_token={token}"
            answer = scene.make(asked, None, login, "GET")
            found.append(len(answer.get("review_queues", ())))
            token = answer.get("next_page_token", "")
        return found

    assert pages(reader, "&user=bob") == pages(reader, "&user=nobody") == [0]
    assert pages(reader, "") == pages(reader, f"&user={reader[0]}") == pages(editor, "&user=bob") == [1, 1]
    assert pages(editor, "") == [1] * 4
    hidden = scene.make(f"{V3}/review-queues/list?experiment_id={experiment}&user=bob", None, ADMIN, "GET")
    for known in (hidden["review_queues"][0]["name"], "of-nobody"):
        asked = f"{V3}/review-queues/get-by-name?experiment_id={experiment}&name={known}"
        assert scene.status(asked, reader) == 403
    assert scene.status(asked, ADMIN) == 404


def endpoint(scene: Scene) -> tuple[str, str]:
    """Create a gateway endpoint as the administrator; return its name and identifier."""
    name = scene.new("endpoint")
    secret = {"secret_name": f"{name}-key", "provider": "openai", "secret_value": {"api_key": "of-nobody"}}
    key = scene.make(f"{V3}/gateway/secrets/create", secret)["secret"]["secret_id"]
    definition = {"name": f"{name}-model", "secret_id": key, "provider": "openai", "model_name": "gpt-4o"}
    made = scene.make(f"{V3}/gateway/model-definitions/create", definition)["model_definition"]
    models = [{"model_definition_id": made["model_definition_id"], "linkage_type": "PRIMARY", "weight": 1.0}]
    created = scene.make(f"{V3}/gateway/endpoints/create", {"name": name, "model_configs": models})["endpoint"]
    return name, created["endpoint_id"]


def test_a_hidden_gateway_endpoint_looks_nonexistent(scene: Scene) -> None:
    name, identifier = endpoint(scene)
    asked = f"{V3}/gateway/endpoints/get?name="
    assert [scene.status(f"{asked}{known}", scene.mia) for known in (name, "of-nobody")] == [403, 403]
    reader = scene.server.member(scene.new("reader"))
    scene.grant("gateway_endpoint", identifier, "READ", reader)
    assert scene.status(f"{asked}{name}", reader) == 200
    assert scene.status(f"{asked}of-nobody", ADMIN) == 404


def judge(model: str) -> dict[str, Any]:
    """Return a serialized judge with a model."""
    return {"name": "one", "instructions_judge_pydantic_data": {"model": model, "instructions": "{{ outputs }}"}}


def ensemble(*scorers: dict[str, Any]) -> dict[str, Any]:
    return {"name": "all", "ensemble_scorer_data": {"ensemble_fn": "majority_vote", "scorers": scorers}}


# scorers that name a model
NAMING: dict[str, Callable[[str], dict[str, Any]]] = {
    "judge": judge,
    "ensemble": lambda model: ensemble(judge("openai:/gpt-4o"), judge(model)),
    "ensemble in an ensemble": lambda model: ensemble(ensemble(judge(model))),
    "judge with memory": lambda model: {
        "memory_augmented_judge_data": {"base_judge": judge("openai:/gpt-4o"), "embedding_model": model}
    },
    "two scorers": lambda model: {
        "builtin_scorer_pydantic_data": {"name": "one"},
        "third_party_scorer_data": {"model": model},
    },
}


@pytest.mark.parametrize("kind", NAMING)
def test_a_scorer_asks_only_models_that_its_author_may_use(scene: Scene, kind: str) -> None:
    name, identifier = endpoint(scene)
    experiment, member = scene.experiment(), scene.server.member(scene.new("member"))
    scene.grant("experiment", experiment, "EDIT", member)

    def register(model: str) -> int:
        scorer = {"experiment_id": experiment, "name": "judge", "serialized_scorer": json.dumps(NAMING[kind](model))}
        return scene.status(f"{V3}/scorers/register", member, scorer)

    assert [register(f"gateway:/{known}") for known in (name, "of-nobody")] == [403, 403]
    assert register("openai:/gpt-4o") == 200
    scene.grant("gateway_endpoint", identifier, "USE", member)
    assert register(f"gateway:/{name}") == 200


def test_the_list_of_an_endpoints_scorers_has_no_hidden_scorer(scene: Scene) -> None:
    name, identifier = endpoint(scene)
    member = scene.server.member(scene.new("member"))
    scene.grant("gateway_endpoint", identifier, "READ", member)
    for scorer, reads_experiment, reads_scorer in (
        ("readable", True, True),
        ("in a hidden experiment", False, True),
        ("hidden/itself", True, False),
    ):
        experiment = scene.experiment()
        body = {"experiment_id": experiment, "name": scorer, "serialized_scorer": json.dumps(judge(f"gateway:/{name}"))}
        scene.make(f"{V3}/scorers/register", body)
        if reads_experiment:
            scene.grant("experiment", experiment, "READ", member)
        scene.grant("scorer", f"{experiment}/{quote(scorer, safe='')}", "READ" if reads_scorer else "DENY", member)

    def listed(login: Login, resource: str = "") -> list[str]:
        asked = f"{V3}/gateway/endpoints/bindings/list?endpoint_id={identifier}{resource}"
        return sorted(binding["display_name"] for binding in scene.make(asked, None, login, "GET").get("bindings", []))

    assert listed(member) == listed(member, "&resource_type=scorer") == ["readable"]
    assert listed(ADMIN) == ["hidden/itself", "in a hidden experiment", "readable"]
    scene.role(member, "scorer_version", "*", "DENY")
    assert listed(member) == []


# --- locations that an administrator chose ---


def _stored_in(scene: Scene, folder: str) -> tuple[str, str]:
    """Make an experiment with a location in a folder, and a file of a run; return the experiment and the run's path."""
    body = {"name": scene.new("experiment"), "artifact_location": f"mlflow-artifacts:/{folder}"}
    experiment = str(scene.make(f"{V2}/experiments/create", body)["experiment_id"])
    run = scene.make(f"{V2}/runs/create", {"experiment_id": experiment})["run"]["info"]
    path = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    requests.put(f"{scene.server.address}/{FILES}/{path}/file", b"content", auth=ADMIN, timeout=60).raise_for_status()
    return experiment, path


def test_a_location_in_the_folder_of_another_experiment_needs_both_permissions(scene: Scene) -> None:
    own = scene.experiment(scene.mia)
    of_team, path = _stored_in(scene, f"{own}/team")
    reads = (f"{FILES}/{path}/file", f"{FILES}?path={path}")
    assert [scene.status(each, scene.mia) for each in reads] == [403, 403]
    for folder in (f"{own}/team", own):
        assert scene.status(f"{FILES}/{folder}", scene.mia, method="DELETE") == 403
    scene.grant("experiment", of_team, "READ", scene.mia)
    assert [scene.status(each, scene.mia) for each in reads] == [200, 200]


def test_a_denial_of_runs_holds_in_a_chosen_location(scene: Scene) -> None:
    other = scene.experiment()
    experiment, path = _stored_in(scene, f"{other}/team")
    reader, denied = (scene.server.member(scene.new(each)) for each in ("reader", "denied"))
    scene.role(denied, "run", "*", "DENY")
    for member in (reader, denied):
        for each in (experiment, other):
            scene.grant("experiment", each, "READ", member)
    assert [scene.status(f"{FILES}/{path}/file", login) for login in (reader, denied)] == [200, 403]


# --- responses to a trace that is started again ---


def test_starting_a_trace_again_shows_no_denied_assessments(scene: Scene) -> None:
    experiment = scene.experiment()
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {"trace_id": f"tr-{next(scene.numbers):032x}", "trace_location": where, "state": "OK"}
    body = {"trace": {"trace_info": {**info, "request_time": "2026-01-01T00:00:00Z"}}}
    scene.make(f"{V3}/traces", body)
    source = {"source_type": "HUMAN", "source_id": "anna"}
    assessment = {"assessment_name": "quality", "source": source, "feedback": {"value": "a secret opinion"}}
    scene.make(f"{V3}/traces/{info['trace_id']}/assessments", {"assessment": assessment})
    editor, denied = (scene.server.member(scene.new(each)) for each in ("editor", "denied"))
    scene.role(denied, "assessment", "*", "DENY")
    for member, seen in ((editor, True), (denied, False)):
        scene.grant("experiment", experiment, "EDIT", member)
        answer = scene.server.ask(f"{V3}/traces", member, body)
        assert answer.ok, answer.text
        assert ("a secret opinion" in answer.text) == seen


# --- copies of model versions ---


def test_a_denial_of_model_versions_also_denies_their_copies(scene: Scene) -> None:
    model, owner = scene.new("model"), scene.owner
    run = _run_of(scene, owner)
    scene.make(f"{V2}/registered-models/create", {"name": model}, owner)
    source = {"source": f"{run['artifact_uri']}/m", "run_id": run["run_id"]}
    scene.make(f"{V2}/model-versions/create", {"name": model, **source}, owner)
    reader, denied = (scene.server.member(scene.new(each)) for each in ("reader", "denied"))
    scene.role(denied, "registered_model_version", "*", "DENY")
    for member, status in ((reader, 200), (denied, 403)):
        scene.grant("registered_model", model, "READ", member)
        for tags, expected in (([], status), (PROMPT, 400)):  # a prompt has no copies of model versions
            own = scene.new("own")
            scene.make(f"{V2}/registered-models/create", {"name": own, "tags": tags}, member)
            for suffix in ("1", "latest"):
                copy = {"name": own, "source": f"models:/{model}/{suffix}"}
                assert scene.status(f"{V2}/model-versions/create", member, copy) == expected, (member, tags, suffix)
                marked = scene.status(f"{V2}/model-versions/create", member, {**copy, "tags": PROMPT})
                assert marked in (400, 403), (member, tags, suffix)
        written = {"name": own, "source": "prompt-template", "tags": PROMPT}
        assert scene.status(f"{V2}/model-versions/create", member, written) == 200


# --- versions whose tag is not that of their prompt or model ---


@pytest.mark.parametrize(("kind", "own"), [("prompt", PROMPT), ("registered_model", [])])
def test_a_version_has_the_tag_of_its_prompt_or_model(scene: Scene, kind: str, own: Any) -> None:
    name, run = scene.new("model"), _run_of(scene, scene.owner)
    scene.make(f"{V2}/registered-models/create", {"name": name, "tags": own}, scene.owner)
    of_run, of_prompt = {"source": f"{run['artifact_uri']}/m", "run_id": run["run_id"]}, {"source": "prompt-template"}
    unmarked = [{"key": PROMPT[0]["key"], "value": "no"}]
    for source, tags, is_prompt in (
        (of_run, [], False),
        (of_run, unmarked, False),
        (of_run, [*PROMPT, *unmarked], False),  # the last tag counts
        (of_prompt, PROMPT, True),
        (of_prompt, [*unmarked, *PROMPT], True),
    ):
        body = {"name": name, **source, "tags": tags}
        answer = scene.server.ask(f"{V2}/model-versions/create", scene.owner, body)
        assert answer.status_code == (200 if is_prompt == (kind == "prompt") else 400), (tags, answer.text)
        assert answer.ok or "the tag mlflow.prompt.is_prompt" in answer.text


@pytest.mark.parametrize(
    ("kind", "own", "other"), [("prompt", PROMPT, []), ("registered_model", [], PROMPT)], ids=["prompt", "model"]
)
def test_a_version_with_another_tag_is_closed_to_readers_of_the_other_kind(
    scene: Scene, kind: str, own: Any, other: Any
) -> None:
    """Administrators can still store such a version, and everybody could until an earlier release."""
    name, run = scene.new("model"), _run_of(scene, ADMIN)
    scene.make(f"{V2}/registered-models/create", {"name": name, "tags": own})
    of_run = {"source": f"{run['artifact_uri']}/m", "run_id": run["run_id"]}
    source = {"source": "prompt-template"} if other else of_run
    made = scene.make(f"{V2}/model-versions/create", {"name": name, **source, "tags": other})["model_version"]
    readers = {
        scene.server.member(scene.new("reader")): kinds
        for kinds in (("registered_model", "prompt"), ("registered_model",), ("prompt",))
    }
    for reader, kinds in readers.items():
        for each in kinds:
            scene.grant(each, name, "READ", reader)

    def found(login: Login) -> list[str]:
        # without a condition for the tag, MLflow leaves out versions with the tag
        tagged = " AND tags.`mlflow.prompt.is_prompt` = 'true'" if other else ""
        search = f"{V2}/model-versions/search?filter={quote(f'name = {name!r}{tagged}')}"
        return [each["version"] for each in scene.make(search, None, login, "GET").get("model_versions", [])]

    assert [found(login) for login in (ADMIN, *readers)] == [[made["version"]], [made["version"]], [], []]
    if kind == "prompt":
        path = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
        address = f"{scene.server.address}/{FILES}/{path}/m/file"
        requests.put(address, b"content", auth=ADMIN, timeout=60).raise_for_status()
        file = f"model-versions/get-artifact?name={name}&version={made['version']}&path=file"
        assert [scene.status(file, login) for login in (ADMIN, *readers)] == [200, 200, 403, 403]


def _run_of(scene: Scene, login: Login) -> Any:
    return scene.make(f"{V2}/runs/create", {"experiment_id": scene.experiment(login)}, login)["run"]["info"]


# --- spellings of experiments in permissions ---


def test_a_denial_names_an_experiment_in_any_spelling(scene: Scene) -> None:
    denied, other = scene.experiment(), scene.experiment()
    for spelling in (f"0{denied}", f"+{denied}"):
        member = scene.server.member(scene.new("member"))
        scene.role(member, "experiment", "*", "READ")
        scene.role(member, "experiment", spelling, "DENY")
        asked = [scene.status(f"{V2}/experiments/get?experiment_id={each}", member) for each in (denied, other)]
        assert asked == [403, 200]
        listed = scene.make(f"{V2}/experiments/search", {"max_results": 1000}, member)["experiments"]
        assert {denied, other} & {each["experiment_id"] for each in listed} == {other}


# --- permissions on the workspace ---


def test_a_permission_on_the_workspace_shows_only_readable_objects(scene: Scene) -> None:
    experiment, model = scene.experiment(), scene.new("model")
    run = scene.make(f"{V2}/runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
    scene.make(f"{V2}/registered-models/create", {"name": model})
    scorer = {"experiment_id": experiment, "name": "judge", "serialized_scorer": json.dumps({"name": "judge"})}
    scene.make(f"{V3}/scorers/register", scorer)

    def sees(login: Login) -> list[bool]:
        experiments = scene.make(f"{V2}/experiments/search", {"max_results": 1000}, login).get("experiments", [])
        runs = scene.make(f"{V2}/runs/search", {"experiment_ids": [experiment]}, login).get("runs", [])
        models = scene.make(f"{V2}/registered-models/search?max_results=1000", None, login, "GET")
        scorers = scene.make(f"{V3}/scorers/list", None, login, "GET").get("scorers", [])
        return [
            experiment in {each["experiment_id"] for each in experiments},
            run in {each["info"]["run_id"] for each in runs},
            model in {each["name"] for each in models.get("registered_models", [])},
            experiment in {str(each["experiment_id"]) for each in scorers},
        ]

    for permission, readable in (("USE", False), ("MANAGE", True)):
        member = scene.server.member(scene.new("member"))
        scene.role(member, "workspace", "*", permission)
        asked = f"{V2}/experiments/get?experiment_id={experiment}"
        assert scene.status(asked, member) == (200 if readable else 403)
        assert sees(member) == [readable] * 4, permission
        own = scene.experiment(member)
        assert scene.status(f"{V2}/experiments/get?experiment_id={own}", member) == 200


# --- denied runs, logged models and assessments ---


def test_traces_are_not_selected_by_denied_objects(scene: Scene) -> None:
    experiment = scene.experiment()
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    counted = {"experiment_ids": [experiment], "view_type": "TRACES", "metric_name": "trace_count"}
    counted["aggregations"] = [{"aggregation_type": "COUNT"}]
    metrics, search, issues = f"{V3}/traces/metrics", f"{V3}/traces/search", f"{V3}/issues/search"

    def selects(key: str) -> dict[str, Any]:
        return {**counted, "filters": ["trace.status = 'OK'", f"trace.metadata.`{key}` = 'x'"]}

    by_issue = {"locations": [where], "filter": "issue.id = 'iss-1'"}
    requests_by_tier: dict[str, list[tuple[str, dict[str, Any]]]] = {
        "run": [(metrics, selects("mlflow.sourceRun"))],
        "logged_model": [(metrics, selects("mlflow.modelId"))],
        "assessment": [(search, by_issue)],
    }
    counting = {"experiment_id": experiment, "include_trace_count": True}
    harmless = [(metrics, selects("other")), (search, {"locations": [where]}), (issues, {"experiment_id": experiment})]
    for tier in (None, "trace", *requests_by_tier):
        member = scene.server.member(scene.new("member"))
        scene.grant("experiment", experiment, "READ", member)
        if tier:
            scene.role(member, tier, "*", "DENY")
        assert scene.status(issues, member, counting) == (403 if tier in {"trace", "assessment"} else 200), tier
        if tier == "trace":
            continue
        for path, body in harmless:
            assert scene.status(path, member, body) == 200, (tier, path, body)
        for selected, asked in requests_by_tier.items():
            for path, body in asked:
                assert scene.status(path, member, body) == (403 if tier == selected else 200), (tier, path, body)


def test_a_new_dataset_belongs_to_experiments_by_their_usual_number(scene: Scene) -> None:
    experiment, owner = scene.experiment(scene.owner), scene.owner
    created = {"name": scene.new("dataset"), "experiment_ids": [f"0{experiment}", experiment]}
    dataset = scene.make(f"{V3}/datasets/create", created, owner)["dataset"]
    asked = f"{V3}/datasets/{dataset['dataset_id']}/experiment-ids"
    assert scene.make(asked, None, owner, "GET")["experiment_ids"] == [experiment]


def test_datasets_of_runs_are_hidden_with_the_runs(scene: Scene) -> None:
    experiment = scene.experiment()
    run = scene.make(f"{V2}/runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
    used = {"name": "used", "digest": "d", "source_type": "local", "source": "{}"}
    scene.make(f"{V2}/runs/log-inputs", {"run_id": run, "datasets": [{"dataset": used}]})
    asked = {"experiment_ids": [experiment]}
    query = (
        "mutation q($data: MlflowSearchDatasetsInput!) { mlflowSearchDatasets(input: $data) "
        "{ datasetSummaries { name } apiError { message } } }"
    )
    for permission in (None, "DENY"):
        member = scene.server.member(scene.new("member"))
        scene.grant("experiment", experiment, "READ", member)
        if permission:
            scene.role(member, "run", "*", permission)
        answer = scene.server.ask("ajax-api/2.0/mlflow/experiments/search-datasets", member, asked)
        assert answer.status_code == (403 if permission else 200), answer.text
        found = scene.server.ask(
            "graphql", member, {"query": query, "variables": {"data": {"experimentIds": [experiment]}}}
        )
        assert ("used" in found.text) == (permission is None), found.text


def test_only_a_manager_of_all_its_experiments_moves_a_dataset(scene: Scene) -> None:
    datasets = f"{V3}/datasets"
    for permission, status in (("EDIT", 403), ("MANAGE", 200)):
        experiment, member = scene.experiment(), scene.server.member(scene.new("member"))
        own = scene.experiment(member)
        created = {"name": scene.new("dataset"), "experiment_ids": [experiment]}
        dataset = scene.make(f"{datasets}/create", created)["dataset"]["dataset_id"]
        scene.grant("experiment", experiment, permission, member)
        assert scene.status(f"{datasets}/{dataset}/tags", member, {"tags": json.dumps({"a": "b"})}, "PATCH") == 200
        for action, moved in (("add", own), ("remove", experiment)):
            body = {"experiment_ids": [moved]}
            assert scene.status(f"{datasets}/{dataset}/{action}-experiments", member, body) == status, permission
        assert scene.status(f"{datasets}/{dataset}", member, None, "DELETE") == status
