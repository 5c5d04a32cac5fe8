"""No member reaches objects of others by an assessment, a trace, a review queue, a tag, or the Host header."""

from __future__ import annotations

import base64
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from tests.local.minors import ADMIN, CASES, Server, served

V2 = "api/2.0/mlflow"
V3 = "api/3.0/mlflow"
TRACES = f"{V3}/traces"
QUEUES = f"{V3}/review-queues"
GRANT = f"{V3}/users/permissions/grant"
IS_PROMPT = "mlflow.prompt.is_prompt"
MOMENT = "2026-01-01T00:00:00Z"

Login = tuple[str, str]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def server(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("takeovers")
    models = "MLFLOW_GATEWAY_API_BASE"  # on ports of this machine
    more = {f"{models}_ALLOW_PRIVATE_IPS": "true", f"{models}_ALLOWED_SCHEMES": "http,https"}
    more |= {"MLFLOW_TRACKING_USERNAME": ADMIN[0], "MLFLOW_TRACKING_PASSWORD": ADMIN[1]}
    with served(request.param, python_of(request.param.version), folder, more) as server:
        yield server


@pytest.fixture(scope="module")
def mia(server: Server) -> Login:
    return server.member("mia")


def grant(server: Server, login: Login, kind: str, name: str, permission: str) -> None:
    body = {"username": login[0], "resource_type": kind, "resource_id": name, "permission": permission}
    server.change(GRANT, body)


# --- assessments that override others ---


def assessment(identifier: str, **more: Any) -> dict[str, Any]:
    source = {"source_type": "HUMAN", "source_id": "somebody"}
    times = {"create_time": MOMENT, "last_update_time": MOMENT}
    said = {"assessment_name": "quality", "feedback": {"value": 5}}
    return {"assessment_id": identifier, "source": source, **said, **times, **more}


def start(server: Server, login: Login, experiment: str, trace: str, *assessments: Any) -> requests.Response:
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {"trace_id": trace, "trace_location": where, "request_time": MOMENT, "state": "OK"}
    answer: requests.Response = server.ask(
        TRACES, login, {"trace": {"trace_info": {**info, "assessments": assessments}}}
    )
    return answer


def rows(server: Server, query: str, *values: str) -> list[Any]:
    """Run a statement in MLflow's database; return the rows."""
    with closing(sqlite3.connect(server.log.with_name("tracking.db"), timeout=60)) as database, database:
        return database.execute(query, values).fetchall()


def is_valid(server: Server, identifier: str) -> bool:
    return bool(rows(server, "SELECT valid FROM assessments WHERE assessment_id = ?", identifier)[0][0])


def test_a_member_overrides_no_assessment_of_another_trace(server: Server, mia: Login) -> None:
    theirs = server.experiment("theirs")
    own = str(server.ask(f"{V2}/experiments/create", mia, {"name": "own"}).json()["experiment_id"])
    grant(server, mia, "experiment", theirs, "READ")
    start(server, ADMIN, theirs, "tr-theirs", assessment("a-old")).raise_for_status()
    newer = {"assessment": assessment("", overrides="a-old", trace_id="tr-theirs")}
    server.change(f"{TRACES}/tr-theirs/assessments", newer)
    assert not is_valid(server, "a-old")

    start(server, mia, own, "tr-known", assessment("a-known")).raise_for_status()
    for trace, identifier in (("tr-new", "a-new"), ("tr-known", "a-added"), ("tr-known", "a-known")):
        for overridden in ("a-old", "a-later"):
            refused = start(server, mia, own, trace, assessment(identifier, overrides=overridden))
            server.ask(f"{TRACES}/{trace}/assessments/{identifier}", mia, method="DELETE")
            assert refused.status_code == 400, (trace, identifier, overridden, refused.text)
            assert not is_valid(server, "a-old")


def test_a_member_overrides_assessments_of_the_same_trace(server: Server, mia: Login) -> None:
    own = str(server.ask(f"{V2}/experiments/create", mia, {"name": "of one trace"}).json()["experiment_id"])
    older, newer = assessment("b-old", valid=False), assessment("b-new", overrides="b-old")
    start(server, mia, own, "tr-one", newer, older).raise_for_status()
    start(server, mia, own, "tr-one", newer, older).raise_for_status()
    start(server, mia, own, "tr-one", assessment("b-newest", overrides="b-new")).raise_for_status()
    deleted = server.ask(f"{TRACES}/tr-one/assessments/b-old", mia, method="DELETE")
    deleted.raise_for_status()
    start(server, mia, own, "tr-one", newer).raise_for_status()  # a client may send a trace again
    server.ask(f"{TRACES}/tr-one/assessments/b-newest", mia, method="DELETE").raise_for_status()
    assert is_valid(server, "b-new")


def test_the_identifier_of_an_assessment_leads_to_no_other_route(server: Server, mia: Login) -> None:
    own = str(server.ask(f"{V2}/experiments/create", mia, {"name": "with identifiers"}).json()["experiment_id"])
    start(server, mia, own, "tr-identified", assessment("a-1.2:3_4")).raise_for_status()
    for wrong in ("../../../roles/delete?role_id=3", "..", "a/b", "a\\b", "a?b", "a#b", "a%2fb", "a b"):
        for login in (mia, ADMIN):
            new = {"assessment": assessment(wrong, trace_id="tr-identified")}
            assert server.ask(f"{TRACES}/tr-identified/assessments", login, new).status_code == 400, wrong
            assert start(server, login, own, "tr-other", assessment(wrong)).status_code == 400, wrong
            assert still_stored(server, wrong) == [False]


# --- assessments that name a deleted run ---


def new_run(server: Server, login: Login, experiment: str) -> str:
    answer = server.ask(f"{V2}/runs/create", login, {"experiment_id": experiment, "start_time": 1})
    answer.raise_for_status()
    return str(answer.json()["run"]["info"]["run_id"])


def naming(run: str, identifier: str) -> dict[str, Any]:
    """Return an assessment that names a run."""
    return assessment(identifier, metadata={"mlflow.assessment.sourceRunId": run})


def still_stored(server: Server, *identifiers: str) -> list[bool]:
    stored = {identifier for (identifier,) in rows(server, "SELECT assessment_id FROM assessments")}
    return [identifier in stored for identifier in identifiers]


@pytest.mark.parametrize("deleted", ["run", "experiment"])
def test_deleting_a_run_deletes_no_assessment_in_another_experiment(server: Server, mia: Login, deleted: str) -> None:
    theirs, trace = server.experiment(f"assessed, {deleted}"), f"tr-of-{deleted}"
    created = server.ask(f"{V2}/experiments/create", mia, {"name": f"with a run, {deleted}"})
    own = str(created.json()["experiment_id"])
    run, by_administrator = (new_run(server, mia, own) for _ in range(2))
    start(server, ADMIN, theirs, f"{trace}-theirs", naming(run, f"{trace}-1")).raise_for_status()
    start(server, mia, own, f"{trace}-own", naming(run, f"{trace}-2")).raise_for_status()
    start(server, ADMIN, theirs, f"{trace}-more", naming(by_administrator, f"{trace}-3")).raise_for_status()
    server.change(f"{V2}/runs/delete", {"run_id": by_administrator})
    body = {"run_id": run} if deleted == "run" else {"experiment_id": own}
    server.ask(f"{V2}/{deleted}s/delete", mia, body).raise_for_status()
    assert still_stored(server, f"{trace}-1", f"{trace}-2", f"{trace}-3") == [True, False, False]


@pytest.mark.parametrize(("permission", "stays"), [("DENY", True), ("EDIT", True), ("MANAGE", False)])
def test_deleting_a_run_deletes_assessments_only_with_the_permission_on_them(
    server: Server, permission: str, stays: bool
) -> None:
    shared, member = server.experiment(f"shared, {permission}"), server.member(f"with-{permission}".lower())
    grant(server, member, "experiment", shared, "READ")
    body = {"name": f"with-{permission}", "workspace": "default"}
    role = server.change(f"{V3}/roles/create", body)["role"]["id"]
    for kind, level in (("run", "MANAGE"), ("assessment", permission)):
        more = {"resource_type": kind, "resource_pattern": "*", "permission": level}
        server.change(f"{V3}/roles/permissions/add", {"role_id": role, **more})
    server.change(f"{V3}/roles/assign", {"role_id": role, "username": member[0]})
    run = new_run(server, ADMIN, shared)
    start(server, ADMIN, shared, f"tr-{permission}", naming(run, f"d-{permission}")).raise_for_status()
    server.ask(f"{V2}/runs/delete", member, {"run_id": run}).raise_for_status()
    assert still_stored(server, f"d-{permission}") == [stays]


# --- personal review queues ---


def test_a_member_owns_no_personal_queue_of_another_user(server: Server, mia: Login) -> None:
    shared, user = server.experiment("reviewed"), server.member("Reviewer")
    for login in (mia, user):
        grant(server, login, "experiment", shared, "EDIT")
    created = server.ask(f"{QUEUES}/create", mia, {"experiment_id": shared, "name": user[0], "queue_type": "USER"})
    created.raise_for_status()
    queue = created.json()["review_queue"]
    again = server.ask(f"{QUEUES}/get-or-create-user", user, {"experiment_id": shared, "user": user[0]})
    assert again.json()["review_queue"] == queue
    start(server, ADMIN, shared, "tr-reviewed").raise_for_status()
    items = {"queue_id": queue["queue_id"], "item_ids": ["tr-reviewed"]}
    server.ask(f"{QUEUES}/items/add", mia, items).raise_for_status()  # each editor assigns work to others
    asked = (
        f"{QUEUES}/get?queue_id={queue['queue_id']}",
        f"{QUEUES}/get-by-name?experiment_id={shared}&name={user[0]}",
        f"{QUEUES}/items/list?queue_id={queue['queue_id']}",
    )

    def statuses() -> list[list[int]]:
        return [[server.ask(path, login).status_code for login in (mia, user)] for path in asked]

    assert statuses() == [[403, 200]] * 3
    assert queue["created_by"] == queue["name"] == user[0].lower()
    rows(
        server, "UPDATE review_queues SET created_by = ? WHERE queue_id = ?", mia[0], queue["queue_id"]
    )  # as in earlier releases
    assert statuses() == [[403, 200]] * 3


def test_a_member_owns_the_queues_of_a_group(server: Server, mia: Login) -> None:
    shared, user = server.experiment("reviewed by a group"), server.member("member-of-a-group")
    for login in (mia, user):
        grant(server, login, "experiment", shared, "EDIT")
    body = {"experiment_id": shared, "name": "of a group", "queue_type": "CUSTOM", "users": [user[0]]}
    queue = server.ask(f"{QUEUES}/create", mia, body).json()["review_queue"]
    renamed = {"queue_id": queue["queue_id"], "name": "renamed"}
    assert [server.ask(f"{QUEUES}/update", login, renamed).status_code for login in (user, mia)] == [403, 200]


# --- traces in another experiment ---


def test_an_editor_moves_no_trace_to_another_experiment(server: Server, mia: Login) -> None:
    theirs = server.experiment("with a trace")
    own = str(server.ask(f"{V2}/experiments/create", mia, {"name": "for a trace"}).json()["experiment_id"])
    grant(server, mia, "experiment", theirs, "EDIT")
    start(server, ADMIN, theirs, "tr-kept").raise_for_status()
    for _ in range(2):  # a client may send a trace again
        start(server, mia, theirs, "tr-kept").raise_for_status()
    refused = [start(server, login, own, "tr-kept") for login in (mia, ADMIN)]
    server.ask(f"{TRACES}/delete-traces", mia, {"experiment_id": own, "request_ids": ["tr-kept"]})
    assert [answer.status_code for answer in refused] == [403, 403], [answer.text for answer in refused]
    kept = server.ask(f"{TRACES}/tr-kept", ADMIN).json()["trace"]["trace_info"]["trace_location"]
    assert kept["mlflow_experiment"]["experiment_id"] == theirs


# --- the tag that makes a prompt ---


@pytest.mark.parametrize("tags", [[], [{"key": IS_PROMPT, "value": "true"}]], ids=["model", "prompt"])
def test_a_member_makes_no_prompt_of_a_model_and_no_model_of_a_prompt(server: Server, mia: Login, tags: Any) -> None:
    kind = "prompt" if tags else "registered_model"
    name, owner = f"a-{kind}", server.member(f"owner-of-a-{kind}")
    source = {"source": "prompt-template"} if tags else {"source": "models:/m-unknown"}
    server.ask(f"{V2}/registered-models/create", owner, {"name": name, "tags": tags}).raise_for_status()
    if tags:
        server.ask(f"{V2}/model-versions/create", owner, {"name": name, "tags": tags, **source}).raise_for_status()
    grant(server, mia, kind, name, "MANAGE")
    version = {"name": name, "version": "1"}
    value = "false" if tags else "true"
    for body, path in (({"name": name}, "registered-models"), (version, "model-versions"))[: 1 + bool(tags)]:
        refused = [
            server.ask(f"{V2}/{path}/set-tag", mia, {**body, "key": IS_PROMPT, "value": value}),
            server.ask(f"{V2}/{path}/delete-tag", mia, {**body, "key": IS_PROMPT}, "DELETE"),
        ]
        assert [answer.status_code for answer in refused] == [403, 403], (path, [answer.text for answer in refused])
        for key in ("mlflow.prompt.text", "other"):
            server.ask(f"{V2}/{path}/set-tag", mia, {**body, "key": key, "value": "text"}).raise_for_status()
            server.ask(f"{V2}/{path}/delete-tag", mia, {**body, "key": key}, "DELETE").raise_for_status()
    assert server.ask(f"{V2}/registered-models/get?name={name}", owner).ok
    server.change(f"{V2}/registered-models/set-tag", {"name": name, "key": IS_PROMPT, "value": value})
    assert server.ask(f"{V2}/registered-models/get?name={name}", owner).status_code == 403


# --- the scorer of a guardrail ---


def test_a_member_replaces_no_scorer_of_a_guardrail(server: Server) -> None:
    editor, experiment = server.member("editor-of-scorers"), server.experiment("with a guardrail")
    scorer = {"experiment_id": experiment, "name": "guard"}

    def register(login: Login, name: str) -> Any:
        answer = server.ask(
            f"{V3}/scorers/register", login, {**scorer, "serialized_scorer": json.dumps({"name": name})}
        )
        assert answer.ok, answer.text
        return answer.json()

    register(ADMIN, "first")
    guarding = register(ADMIN, "guarding")
    grant(server, editor, "experiment", experiment, "EDIT")
    grant(server, editor, "scorer", f"{experiment}/guard", "MANAGE")
    used = {"scorer_id": guarding["scorer_id"], "scorer_version": guarding["version"]}
    body = {"name": "kept", "stage": "BEFORE", "action": "VALIDATION", **used}
    made = server.change(f"{V3}/gateway/guardrails/create", body)["guardrail"]
    refused = [
        server.ask(f"{V3}/scorers/delete", editor, {**scorer, **version}, "DELETE")
        for version in ({"version": guarding["version"]}, {})
    ]
    assert [answer.status_code for answer in refused] == [400, 400], [answer.text for answer in refused]
    assert register(editor, "another")["version"] == guarding["version"] + 1
    found = server.change(f"{V3}/gateway/guardrails/get?guardrail_id={made['guardrail_id']}", None, "GET")["guardrail"]
    assert json.loads(found["scorer"]["serialized_scorer"])["name"] == "guarding", found
    for version in (1, guarding["version"] + 1):  # the guardrail does not use these scorers
        server.ask(f"{V3}/scorers/delete", editor, {**scorer, "version": version}, "DELETE").raise_for_status()
    server.change(f"{V3}/gateway/guardrails/delete", {"guardrail_id": made["guardrail_id"]}, "DELETE")
    server.ask(f"{V3}/scorers/delete", editor, scorer, "DELETE").raise_for_status()


# --- calls of a guardrail ---


@contextmanager
def listener(status: int = 500) -> Iterator[tuple[int, list[str]]]:
    """Listen on a port of this machine and answer with a status; yield the port and the paths of all requests."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name of http.server
            paths.append(self.path)
            self.send_error(status)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    answering = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=answering.serve_forever)
    thread.start()
    try:
        yield answering.server_port, paths
    finally:
        answering.shutdown()
        thread.join()
        answering.server_close()


def ensemble(server: Server, **of_class: Any) -> str:
    """Return a serialized scorer that contains another scorer."""
    of_release = {"mlflow_version": server.case.version, "serialization_version": 1}
    all_of = {"ensemble_fn": "majority_vote", "scorers": [{"name": "one", **of_release, **of_class}]}
    return json.dumps({"name": "judge", **of_release, "ensemble_scorer_data": all_of})


def guarded_endpoint(
    server: Server, prefix: str = "", serialized: str | None = None, base: str = "https://127.0.0.1:9/v1"
) -> str:
    """Create a gateway endpoint with a guardrail in which another endpoint rewrites each request; return its name.

    `serialized` is the scorer of the guardrail, and `base` the address of the models.
    """
    secret = {"secret_name": f"{prefix}key", "provider": "openai", "secret_value": {"api_key": "of-nobody"}}
    nowhere = {"auth_config": {"api_base": base}}
    key = server.change(f"{V3}/gateway/secrets/create", {**secret, **nowhere})["secret"]["secret_id"]
    made = {}
    for name in (f"{prefix}rewriting", f"{prefix}guarded"):
        definition = {"name": f"{name}-model", "secret_id": key, "provider": "openai", "model_name": "gpt-4o"}
        model = server.change(f"{V3}/gateway/model-definitions/create", definition)["model_definition"]
        models = [{"model_definition_id": model["model_definition_id"], "linkage_type": "PRIMARY", "weight": 1.0}]
        endpoint = {"name": name, "model_configs": models}
        made[name] = server.change(f"{V3}/gateway/endpoints/create", endpoint)["endpoint"]["endpoint_id"]
    # before the model has answered, this scorer finds no text and fails without a call
    usual = ensemble(server, builtin_scorer_class="PIIDetection", builtin_scorer_pydantic_data={"name": "pii"})
    scorer = {"experiment_id": server.experiment(f"{prefix}judged"), "name": "judge"}
    registered = server.change(f"{V3}/scorers/register", {**scorer, "serialized_scorer": serialized or usual})
    guardrail = {"name": "guard", "scorer_id": registered["scorer_id"], "scorer_version": registered["version"]}
    rewrites = {"stage": "BEFORE", "action": "SANITIZATION", "action_endpoint_id": made[f"{prefix}rewriting"]}
    created = server.change(f"{V3}/gateway/guardrails/create", {**guardrail, **rewrites})["guardrail"]
    added = {"endpoint_id": made[f"{prefix}guarded"], "guardrail_id": created["guardrail_id"]}
    server.change(f"{V3}/gateway/guardrails/add-to-endpoint", added)
    return f"{prefix}guarded"


def test_a_guardrail_calls_this_server_for_any_host_header(server: Server) -> None:
    name = guarded_endpoint(server)
    body = {"model": name, "messages": [{"role": "user", "content": "hello"}]}
    basic = base64.b64encode(":".join(ADMIN).encode()).decode()
    with listener() as (port, paths):
        for host in (f"localhost:{port}", f"127.0.0.1:{port}"):
            headers = {"Host": host, "Authorization": f"Basic {basic}"}
            address = f"{server.address}/gateway/mlflow/v1/chat/completions"
            answer = requests.post(address, json=body, headers=headers, timeout=120)
            assert "Sanitization request failed" in answer.text, (answer.status_code, answer.text)
    assert paths == []
    asked = [line for line in server.log.read_text().splitlines() if "/gateway/rewriting/mlflow/invocations" in line]
    assert len(asked) == 2
    assert all(f" {ADMIN[0]} " in line and '" 500 ' in line for line in asked), (
        asked
    )  # the server refused neither the host nor the login


# other names in the module of the built-in scorers, with arguments that contain an address
OPENING: dict[str, dict[str, str]] = {
    "InstructionsJudge": {"name": "x", "instructions": "Is {{ inputs }} fine?", "model": "gateway:/x"},
    "invoke_judge_model": {"model_uri": "gateway:/x", "prompt": "p", "assessment_name": "a"},
}


@pytest.mark.parametrize("name", OPENING)
def test_a_scorer_opens_no_address_of_a_member(server: Server, mia: Login, name: str) -> None:
    own = server.ask(f"{V2}/experiments/create", mia, {"name": f"scorers with {name}"}).json()["experiment_id"]
    guarded = guarded_endpoint(server, f"{name}-")
    with listener(400) as (port, paths):
        arguments = {**OPENING[name], "base_url": f"http://127.0.0.1:{port}/"}
        opening = ensemble(server, builtin_scorer_class=name, builtin_scorer_pydantic_data=arguments)
        # without the name of an endpoint that the member may not use
        registered = opening.replace("gateway:/", "openai:/")
        scorer = {"experiment_id": own, "name": "opening", "serialized_scorer": registered}
        answer = server.ask(f"{V3}/scorers/register", mia, scorer)
        # MLflow 3.18 accepts the scorer, but does not run it
        assert answer.status_code == (400 if server.case.version.startswith("3.17") else 200), answer.text
        # a scorer that was registered before the server refused it
        update = "UPDATE scorer_versions SET serialized_scorer = ? WHERE scorer_id IN (SELECT scorer_id FROM scorers"
        of_guardrail = " JOIN experiments USING (experiment_id) WHERE name = ?)"
        rows(server, update + of_guardrail, opening, f"{name}-judged")
        body = {"model": guarded, "messages": [{"role": "user", "content": "hello"}]}
        server.ask("gateway/mlflow/v1/chat/completions", ADMIN, body)
    assert paths == []
    assert "Unknown builtin scorer class" in server.log.read_text()


def test_built_in_scorers_are_registered(server: Server, mia: Login) -> None:
    own = server.ask(f"{V2}/experiments/create", mia, {"name": "with built-in scorers"}).json()["experiment_id"]
    for name in ("PIIDetection", "Guidelines", "RelevanceToQuery"):
        of_class = {"builtin_scorer_class": name, "builtin_scorer_pydantic_data": {"name": "one"}}
        for serialized in (ensemble(server, **of_class), json.dumps({"name": "one", **of_class})):
            scorer = {"experiment_id": own, "name": f"scorer {name}", "serialized_scorer": serialized}
            server.ask(f"{V3}/scorers/register", mia, scorer).raise_for_status()


# --- the logins of the account that runs the server ---


@contextmanager
def stored_logins(server: Server) -> Iterator[None]:
    """Store the administrator's login where `deployer login` and curl store logins; the fixture sets variables."""
    home = server.log.parent
    (home / ".mlflow").mkdir()
    credentials, netrc = home / ".mlflow" / "credentials", home / ".netrc"
    credentials.write_text(f"[mlflow]\nmlflow_tracking_username = {ADMIN[0]}\nmlflow_tracking_password = {ADMIN[1]}\n")
    netrc.write_text(f"machine 127.0.0.1 login {ADMIN[0]} password {ADMIN[1]}\n")
    try:
        yield
    finally:
        credentials.unlink()
        credentials.parent.rmdir()
        netrc.unlink()


@pytest.mark.parametrize("kind", ["judge", "ensemble"])
def test_a_judge_in_a_guardrail_uses_no_stored_login(server: Server, kind: str) -> None:
    asked = {"instructions": "Is {{ inputs }} fine?", "model": f"gateway:/{kind}-rewriting"}
    judge = {"instructions_judge_pydantic_data": asked}
    alone = {"name": "judge", "mlflow_version": server.case.version, "serialization_version": 1, **judge}
    before = len(server.log.read_text())
    with listener(400) as (port, paths), stored_logins(server):
        serialized = json.dumps(alone) if kind == "judge" else ensemble(server, **judge)
        guarded = guarded_endpoint(server, f"{kind}-", serialized, f"http://127.0.0.1:{port}/v1")
        body = {"messages": [{"role": "user", "content": "hello"}]}
        answer = server.ask(f"gateway/{guarded}/mlflow/invocations", ADMIN, body)
    assert not answer.ok
    assert paths == []  # neither the guarded model nor the judge's model received a request
    lines = server.log.read_text()[before:].splitlines()
    own = [line for line in lines if '"POST /gateway/mlflow/v1/chat/completions' in line]
    # in MLflow 3.17, judges in guardrails do not find the gateway
    assert bool(own) == (not server.case.version.startswith("3.17")), lines
    assert all('" 401 ' in line for line in own), own


# --- regular expressions in guardrails ---


def test_a_guardrail_runs_no_regular_expression_of_a_member(server: Server, mia: Login) -> None:
    own = server.ask(f"{V2}/experiments/create", mia, {"name": "with expressions"}).json()["experiment_id"]
    of_class = {"builtin_scorer_class": "RegexMatch", "builtin_scorer_pydantic_data": {"pattern": r"^(\w+\s?)*$"}}
    harmless = {"builtin_scorer_class": "PIIDetection", "builtin_scorer_pydantic_data": {"name": "pii"}}

    def create(name: str, serialized: str) -> requests.Response:
        scorer = {"experiment_id": own, "name": name, "serialized_scorer": serialized}
        registered = server.ask(f"{V3}/scorers/register", mia, scorer)
        assert registered.ok, registered.text  # members evaluate their runs with these scorers
        used = {"scorer_id": registered.json()["scorer_id"], "scorer_version": registered.json()["version"]}
        body = {"name": name, "stage": "AFTER", "action": "VALIDATION", **used}
        created: requests.Response = server.ask(f"{V3}/gateway/guardrails/create", ADMIN, body)
        return created

    alone = json.dumps({"name": "one", **of_class})
    refused = [create("alone", alone), create("ensemble", ensemble(server, **of_class))]
    assert [answer.status_code for answer in refused] == [400, 400], [answer.text for answer in refused]
    assert all("do not support the scorer RegexMatch" in answer.text for answer in refused)

    older = create("older", ensemble(server, **harmless)).json()["guardrail"]  # created before the server refused it
    update = "UPDATE scorer_versions SET serialized_scorer = ? WHERE scorer_id = ?"
    rows(server, update, alone, older["scorer"]["scorer_id"])
    name = guarded_endpoint(server, "expressions-")
    endpoint = server.change(f"{V3}/gateway/endpoints/get?name={name}", None, "GET")["endpoint"]
    body = {"endpoint_id": endpoint["endpoint_id"], "guardrail_id": older["guardrail_id"]}
    added = server.ask(f"{V3}/gateway/guardrails/add-to-endpoint", ADMIN, body)
    assert added.status_code == 400, added.text
    assert "do not support the scorer RegexMatch" in added.text
