"""The promises about logins, for every known version of MLflow and for one unknown version."""

from __future__ import annotations

import base64
import gzip
import hmac
import json
import re
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from deployer.catalogue import PLUGINS
from deployer.core.spec.versions import DEFAULT_MLFLOW, SUPPORTED_MINORS
from deployer.plugin import seams
from deployer.plugin.permissions import routes
from tests.local.minors import ADMIN, CASES, SIGNING_KEY, Case, Server, served
from tests.support.servers import PASSWORD, settings

LISTING = Path(__file__).with_name("serve_and_list_routes.py")
SEAMS = Path(__file__).with_name("list_seams.py")
STATEMENTS = Path(__file__).with_name("list_statements.py")
LATER = "quite-another-password"
CURRENT = "api/2.0/mlflow/users/current"
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
UNKNOWN = Case("3.16.0", 1, "it remembers a right one for 300 s")
SIDE_BY_SIDE = Case("3.16.0", 2, "it remembers none, as several processes serve")


@pytest.fixture(
    scope="module", params=[*CASES, pytest.param(UNKNOWN, marks=pytest.mark.full_scale)], ids=lambda case: case.version
)
def server(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """One server for all tests of an MLflow."""
    with served(request.param, python_of(request.param.version), tmp_path_factory.mktemp("server")) as found:
        yield found


def test_every_supported_minor_version_and_one_unsupported_version_are_tested() -> None:
    tried = {tuple(map(int, case.version.split(".")[:2])): case.said is None for case in (*CASES, UNKNOWN)}
    assert tried == {**dict.fromkeys(SUPPORTED_MINORS, True), (3, 16): False}


def assert_start_message(server: Server) -> None:
    said = [line for line in server.log.read_text().splitlines() if line.startswith("deployer: ")]
    if server.case.said is None:
        assert said == []
    else:
        (line,) = said
        assert line.startswith(f"deployer: MLflow {server.case.version} checks passwords itself and slowly")
        assert line.endswith(server.case.said)


def test_only_an_unknown_version_is_named_once_at_the_start(server: Server) -> None:
    assert_start_message(server)


@pytest.mark.parametrize("path", [CURRENT, ARTIFACTS, ""], ids=["flask", "fastapi", "page"])
def test_only_the_right_password_is_accepted(server: Server, path: str) -> None:
    logins = {None: 401, (ADMIN[0], "wrong"): 401, ("nobody", PASSWORD): 401, ADMIN: 200}
    assert {login: server.ask(path, login).status_code for login in logins} == logins
    assert server.ask(path, None).headers["WWW-Authenticate"].startswith("Basic ")
    wrong = server.ask(path, (ADMIN[0], "wrong"))
    assert wrong.headers["WWW-Authenticate"].startswith("Basic ")
    # the server passes wrong passwords on to an unknown MLflow
    assert ("wrong user name or password" in wrong.text) == (server.case.said is None)


def test_the_secret_of_mlflows_internal_programs_is_no_login(server: Server) -> None:
    """MLflow 3.18 accepts a signed name as a login on any route, and a token as a password on routes of the gateway."""
    expiry = int(time.time() * 1000) + 600_000
    signed = hmac.new(SIGNING_KEY.encode(), f"v1\n{ADMIN[0]}\n{expiry}".encode(), "sha256").digest()
    signature = base64.urlsafe_b64encode(signed).decode()
    header = {"X-MLflow-Assistant-Delegation": f"v1:{ADMIN[0]}:{expiry}:{signature}"}
    for path in (CURRENT, ARTIFACTS, f"{ARTIFACTS}/1/file"):
        assert requests.get(f"{server.address}/{path}", headers=header, timeout=60).status_code == 401
    assert server.ask("gateway/mlflow/v1/models", (ADMIN[0], SIGNING_KEY)).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "config"),
        ("GET", "config"),
        ("POST", "message"),
        ("GET", "sessions/1/stream"),
        ("POST", "skills/install"),
    ],
)
def test_mlflows_assistant_is_closed_to_everybody(server: Server, method: str, path: str) -> None:
    member = server.member(f"asks-{method}-{path}".lower().replace("/", "-"))
    for login, status in ((ADMIN, 403), (member, 403), (None, 401)):
        told = server.ask(f"ajax-api/3.0/mlflow/assistant/{path}", login, {}, method)
        assert told.status_code == status
        assert ("is closed by this server" in told.text) == (status == 403)


@pytest.mark.parametrize("version", [case.version for case in CASES if case.version != DEFAULT_MLFLOW])
def test_the_list_of_routes_matches_the_application(
    version: str, python_of: Callable[[str], str], tmp_path: Path
) -> None:
    """For the default version, see test_routes.py."""
    folder = tmp_path
    env = {**settings(folder, 1), "PYTHONPATH": str(PLUGINS)}
    subprocess.run(
        [python_of(version), str(LISTING), "routes.json", "list"], cwd=folder, env=env, check=True, timeout=300
    )
    found = json.loads((folder / "routes.json").read_text())["routes"]
    lines = [line for line in routes.parse(routes.FILE.read_text()) if routes.minor(version) in line.versions]
    assert set(routes.permissions(lines, None)) == {
        (route["method"], route["path"]) for route in found if route["path"]
    }


@pytest.mark.parametrize("version", [case.version for case in CASES])
def test_each_mlflow_matches_the_table_of_seams(version: str, python_of: Callable[[str], str], tmp_path: Path) -> None:
    env = {**settings(tmp_path, 1), "PYTHONPATH": str(PLUGINS)}
    command = [python_of(version), str(SEAMS)]
    told = subprocess.run(command, cwd=tmp_path, env=env, check=True, timeout=300, capture_output=True, text=True)
    found = json.loads(told.stdout.splitlines()[-1])
    assert {place: text for _, place, text in found if text} == {}
    assert [(kind, place) for kind, place, _ in found] == [(seam.kind, seam.place) for seam in seams.of(version)]
    assert len(found) > 100


@pytest.mark.parametrize("version", [case.version for case in CASES])
def test_sqlite_gets_no_ping_before_a_statement(version: str, python_of: Callable[[str], str], tmp_path: Path) -> None:
    env = {**settings(tmp_path, 1), "PYTHONPATH": str(PLUGINS)}
    command = [python_of(version), str(STATEMENTS)]
    told = subprocess.run(command, cwd=tmp_path, env=env, check=True, timeout=300, capture_output=True, text=True)
    assert json.loads(told.stdout.splitlines()[-1]) == [["SELECT 1", "SELECT 2"], ["SELECT 2"]]


def trace(trace_id: str, experiment: str, said: str) -> dict[str, Any]:
    """Return the body that starts a trace in MLflow's API."""
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    info = {"trace_id": trace_id, "trace_location": where, "state": "OK", "request_preview": said}
    return {"trace": {"trace_info": {**info, "request_time": "2026-01-01T00:00:00Z"}}}


def spans(trace_id: str, name: str) -> dict[str, Any]:
    """Return one span as OTLP in JSON."""
    moments = {"startTimeUnixNano": "1767225600000000000", "endTimeUnixNano": "1767225600000000001"}
    span = {"traceId": trace_id.removeprefix("tr-"), "spanId": "0123456789abcdef", "name": name, **moments}
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


def test_a_member_neither_takes_over_nor_changes_traces_and_runs_of_others(server: Server) -> None:
    """The requests name an experiment of the member, and a trace or a run in another experiment."""
    member, traces = server.member("tracing"), "api/3.0/mlflow/traces"
    theirs = server.experiment("of the admin")
    own = server.ask("api/2.0/mlflow/experiments/create", member, {"name": "of the member"}).json()["experiment_id"]
    run = server.change("api/2.0/mlflow/runs/create", {"experiment_id": theirs})["run"]["info"]["run_id"]
    owned = server.ask("api/2.0/mlflow/runs/create", member, {"experiment_id": own}).json()["run"]["info"]["run_id"]
    secret, plain, linked = (f"tr-{number:032x}" for number in (1, 2, 3))

    def send(trace_id: str, name: str, experiment: str = own, login: tuple[str, str] = member, **headers: str) -> int:
        headers = {"X-Mlflow-Experiment-Id": experiment, **headers}
        body, address = json.dumps(spans(trace_id, name)).encode(), f"{server.address}/v1/traces"
        headers |= {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        return requests.post(address, data=gzip.compress(body), headers=headers, auth=login, timeout=60).status_code

    assert send(secret, "said in private", theirs, ADMIN) == 200
    server.ask(traces, member, trace(plain, own, "said by the member")).raise_for_status()

    assert server.ask(traces, member, trace(secret, own, "said by the member")).status_code == 403
    assert send(secret, "written by the member") == 403
    assert server.ask(f"{traces}/{secret}", member).status_code == 403
    kept = server.ask(f"{traces}/get?trace_id={secret}", ADMIN).text
    assert ("said in private" in kept, "written by the member" in kept) == (True, False)

    assert send(plain, "written by the member") == 200
    assert "written by the member" in server.ask(f"{traces}/get?trace_id={plain}", member).text
    for run_id in (run, owned):
        send(linked, "linked", **{"X-Mlflow-Run-Id": run_id})
    where = [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": own}}]
    found = [
        server.ask(f"{traces}/search", ADMIN, {"locations": where, "filter": f"run_id = '{run_id}'"}).json()
        for run_id in (run, owned)
    ]
    assert [len(page.get("traces", [])) for page in found] == [0, 1]


MODELS, VERSIONS = "api/2.0/mlflow/registered-models", "api/2.0/mlflow/model-versions"
LOGGED, MCP = "api/2.0/mlflow/logged-models", "api/3.0/mlflow/mcp-servers"
PROMPT = "mlflow.prompt.is_prompt"
OF_GRAPHQL = """{ mlflowSearchModelVersions(input: {filter: "%s", maxResults: 1, orderBy: ["name ASC"]}) {
  modelVersions { name } nextPageToken } }"""


def rows_of(server: Server, login: tuple[str, str], experiment: str, name: str, text: str) -> None:
    """Create one row of each kind with a tag."""
    tags, is_prompt = [{"key": "token", "value": text}], [{"key": PROMPT, "value": "true"}]
    body = {"experiment_id": experiment, "name": f"{name}-logged", "tags": tags}
    logged = server.ask(LOGGED, login, body).json()["model"]["info"]["model_id"]
    source, template = {"source": f"models:/{logged}", "model_id": logged}, {"source": "prompt-template"}
    for kind, more, of_version in (("model", [], source), ("prompt", is_prompt, template)):
        named = {"name": f"{name}-{kind}", "tags": [*tags, *more]}
        server.ask(f"{MODELS}/create", login, named).raise_for_status()
        server.ask(f"{VERSIONS}/create", login, {**named, **of_version}).raise_for_status()
    server.ask(MCP, login, {"name": f"com.{name}/server"}).raise_for_status()
    server.ask(f"{MCP}/com.{name}/server/tags", login, {"key": "token", "value": text}).raise_for_status()


def searches(server: Server, login: tuple[str, str], experiments: list[str], like: str) -> dict[str, str]:
    """Return the first page of each search, with the token if MLflow reports a next page."""
    tag = f"tags.token LIKE '{like}%'"
    prompt, first = f"{tag} AND tags.`{PROMPT}` = 'true'", "&max_results=1&order_by=name ASC"
    oldest = {"order_by": [{"field_name": "creation_timestamp", "ascending": True}], "max_results": 1}
    asked: dict[str, tuple[str, Any]] = {
        "models": (f"{MODELS}/search?filter={tag}{first}", None),
        "versions": (f"{VERSIONS}/search?filter={tag}{first}", None),
        "prompts": (f"{MODELS}/search?filter={prompt}{first}", None),
        "prompt versions": (f"{VERSIONS}/search?filter={prompt}{first}", None),
        "logged": (f"{LOGGED}/search", {"experiment_ids": experiments, "filter": tag, **oldest}),
        "mcp": (f"{MCP}?filter_string={tag}{first}", None),
        "graphql": ("graphql", {"query": OF_GRAPHQL % tag}),
    }
    answers = {kind: server.ask(path.replace("%", "%25"), login, body) for kind, (path, body) in asked.items()}
    assert {kind: answer.status_code for kind, answer in answers.items()} == dict.fromkeys(answers, 200)
    token = re.compile(r'("nextPageToken"|"next_page_token"): ?(null|"")')  # spellings of a missing token
    return {kind: token.sub("", answer.text) for kind, answer in answers.items()}


def test_no_search_tells_whether_a_hidden_row_matches(server: Server) -> None:
    if server.case.said is not None:
        pytest.skip("keeps its own gaps")
    member, hidden = server.member("searching"), server.experiment("searched")
    own = server.ask("api/2.0/mlflow/experiments/create", member, {"name": "of the searcher"}).json()["experiment_id"]
    for number in (1, 2):
        rows_of(server, member, own, f"zz-own{number}", f"own-{number}")
    alone = {like: searches(server, member, [hidden, own], like) for like in ("", "own", "sec")}
    for number in (1, 2):
        rows_of(server, ADMIN, hidden, f"aa-secret{number}", f"secret-{number}")
    assert {like: searches(server, member, [hidden, own], like) for like in alone} == alone
    assert {kind for kind, text in alone[""].items() if "zz-own1" not in text} == set(), alone[""]
    assert not any("own" in text or "oken" in text for text in alone["sec"].values())
    seen = searches(server, ADMIN, [hidden, own], "sec")
    assert all("aa-secret1" in text and "oken" in text for text in seen.values())


def test_an_assessment_stays_at_its_trace(server: Server) -> None:
    if server.case.said is not None:
        pytest.skip("keeps its own gaps")
    member, traces, theirs = server.member("assessing"), "api/3.0/mlflow/traces", server.experiment("assessed")
    own = server.ask("api/2.0/mlflow/experiments/create", member, {"name": "of the assessor"}).json()["experiment_id"]
    secret, plain = (f"tr-{number:032x}" for number in (11, 12))
    server.change(traces, trace(secret, theirs, "said in private"))
    server.ask(traces, member, trace(plain, own, "said by the member")).raise_for_status()
    moment = "2026-01-01T00:00:00Z"
    said = {
        "assessment_name": "quality",
        "trace_id": secret,
        "source": {"source_type": "HUMAN", "source_id": "admin"},
        "feedback": {"value": 5},
        "create_time": moment,
        "last_update_time": moment,
    }
    made = server.change(f"{traces}/{secret}/assessments", {"assessment": said})
    kept = f"{traces}/{secret}/assessments/{made['assessment']['assessment_id']}"
    before = server.ask(kept, ADMIN).json()

    for trace_id in (plain, f"tr-{13:032x}"):  # an existing trace and a new trace
        body = trace(trace_id, own, "said by the member")
        taken = {**said, "assessment_id": made["assessment"]["assessment_id"], "feedback": {"value": 1}}
        body["trace"]["trace_info"]["assessments"] = [taken]
        assert not server.ask(traces, member, body).ok
        assert server.ask(kept, ADMIN).json() == before
    body = trace(plain, own, "said by the member")
    body["trace"]["trace_info"]["assessments"] = [{**said, "assessment_id": "a-new-one"}]
    for _ in range(2):
        server.ask(traces, member, body).raise_for_status()


def test_a_new_version_of_a_scorer_grants_no_permission(server: Server) -> None:
    if server.case.said is not None:
        pytest.skip("keeps its own gaps")
    member, scorers = server.member("scoring"), "api/3.0/mlflow/scorers"
    experiment = server.experiment("scored")
    grant = {"username": member[0], "resource_type": "experiment", "resource_id": experiment, "permission": "EDIT"}
    server.change("api/3.0/mlflow/users/permissions/grant", grant)

    def register(name: str, login: tuple[str, str]) -> None:
        body = {"experiment_id": experiment, "name": name, "serialized_scorer": json.dumps({"name": name})}
        server.ask(f"{scorers}/register", login, body).raise_for_status()

    register("theirs", ADMIN)
    for name in ("theirs", "own"):
        register(name, member)
    granted = server.ask(f"api/3.0/mlflow/users/permissions/list?username={member[0]}", ADMIN).text
    assert "own" in granted
    assert "theirs" not in granted


@pytest.mark.parametrize(("permission", "may_change"), [("READ", False), ("EDIT", True)])
def test_registering_a_logged_model_changes_it_only_for_its_editors(
    server: Server, permission: str, may_change: bool
) -> None:
    if server.case.said is not None:
        pytest.skip("keeps its own gaps")
    name, api, key = f"registered-{permission.lower()}", "api/2.0/mlflow", "mlflow.modelVersions"
    member, experiment = server.member(name), server.experiment(name)
    grant = {"username": member[0], "resource_type": "experiment", "resource_id": experiment}
    server.change("api/3.0/mlflow/users/permissions/grant", {**grant, "permission": permission})
    logged = server.change(f"{api}/logged-models", {"experiment_id": experiment, "name": "m"})["model"]["info"]
    path = f"{api}/logged-models/{logged['model_id']}"
    version = {"name": name, "source": f"models:/{logged['model_id']}", "model_id": logged["model_id"]}
    for action, body in (("registered-models", {"name": name}), ("model-versions", version)):
        server.ask(f"{api}/{action}/create", member, body).raise_for_status()
    assert (key in server.ask(path, ADMIN).text) == may_change
    tags = {"tags": [{"key": key, "value": "[]"}]}
    assert server.ask(f"{path}/tags", member, tags, "PATCH").ok == may_change


def assert_a_changed_password_is_refused_at_once(server: Server) -> None:
    name, password = server.member("changing")
    assert server.statuses(CURRENT, (name, password)) == {200}
    server.change("api/2.0/mlflow/users/update-password", {"username": name, "password": LATER}, "PATCH")
    assert server.statuses(CURRENT, (name, password)) == {401}
    assert server.statuses(CURRENT, (name, LATER)) == {200}


def test_a_changed_password_is_refused_at_once(server: Server) -> None:
    assert_a_changed_password_is_refused_at_once(server)


def test_a_known_mlflow_refuses_at_once_a_password_changed_by_another_process(server: Server) -> None:
    (name, password), (other, _) = server.member("elsewhere"), server.member("giver")
    assert server.statuses(CURRENT, (name, password)) == {200}
    with closing(sqlite3.connect(server.log.with_name("auth.db"), timeout=60)) as database, database:
        change = "UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE username = ?)"
        database.execute(f"{change} WHERE username = ?", (other, name))
    assert server.statuses(CURRENT, (name, password)) == ({401} if server.case.said is None else {200})


@pytest.mark.full_scale
def test_every_worker_of_an_unknown_mlflow_refuses_a_changed_password_at_once(
    python_of: Callable[[str], str], tmp_path: Path
) -> None:
    with served(SIDE_BY_SIDE, python_of(SIDE_BY_SIDE.version), tmp_path) as server:
        assert_start_message(server)
        assert_a_changed_password_is_refused_at_once(server)


def test_a_deleted_user_is_refused_at_once(server: Server) -> None:
    login = server.member("leaving")
    assert [server.statuses(path, login) for path in (CURRENT, ARTIFACTS)] == [{200}, {403}]
    server.change("api/2.0/mlflow/users/delete", {"username": login[0]}, "DELETE")
    assert [server.statuses(path, login) for path in (CURRENT, ARTIFACTS)] == [{401}, {401}]


def test_a_permission_holds_from_grant_to_revocation(server: Server) -> None:
    member = server.member("working")
    experiment = server.change("api/2.0/mlflow/experiments/create", {"name": "of a team"})["experiment_id"]
    run = server.change("api/2.0/mlflow/runs/create", {"experiment_id": experiment, "start_time": 1})["run"]["info"]
    metric = {"key": "m", "value": 1, "step": 1, "timestamp": 1}
    asked = (
        (f"api/2.0/mlflow/experiments/get?experiment_id={experiment}", None),
        (f"api/2.0/mlflow/runs/get?run_id={run['run_id']}", None),
        ("api/2.0/mlflow/runs/log-batch", {"run_id": run["run_id"], "metrics": [metric]}),
        ("api/2.0/mlflow/experiments/delete", {"experiment_id": experiment}),
    )
    grant = {"username": member[0], "resource_type": "experiment", "resource_id": experiment}
    for permission, allowed in (("READ", 2), ("EDIT", 3)):
        assert [server.ask(path, member, body).status_code for path, body in asked] == [403] * 4
        server.change("api/3.0/mlflow/users/permissions/grant", {**grant, "permission": permission})
        told = [server.ask(path, member, body).status_code for path, body in asked]
        assert told == [200] * allowed + [403] * (4 - allowed)
        server.change("api/3.0/mlflow/users/permissions/revoke", grant)
    assert [server.ask(path, member, body).status_code for path, body in asked] == [403] * 4


def test_mlflows_page_makes_a_user_who_can_log_in(server: Server) -> None:
    with requests.Session() as browser:
        browser.auth = ADMIN
        page = browser.get(f"{server.address}/signup", timeout=60)
        (token,) = re.findall(r'name="csrf_token"\s+value="([^"]+)"', page.text)
        form = {"csrf_token": token, "username": "signed-up", "password": LATER}
        made = browser.post(f"{server.address}/api/2.0/mlflow/users/create-ui", data=form, timeout=60)
        assert made.ok
    told = server.ask(CURRENT, ("signed-up", LATER)).json()
    assert (told["user"]["username"], told["is_basic_auth"]) == ("signed-up", True)


def test_guesses_are_slowed_only_for_their_target(server: Server) -> None:
    aimed, other = server.member("aimed"), server.member("other")
    assert server.ask(CURRENT, aimed).status_code == 200
    begun, told = time.monotonic(), []

    def guess(number: int) -> None:
        with suppress(requests.Timeout):  # a guess that waits in the queue
            url, login = f"{server.address}/{CURRENT}", (aimed[0], f"guess {number}")
            told.append(requests.get(url, auth=login, timeout=10).status_code)

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(guess, range(40)))
    assert set(told) == {401}
    assert len(told) <= 20 + (time.monotonic() - begun) / 5
    assert server.ask(CURRENT, other).status_code == 200
    assert server.ask(CURRENT, aimed).status_code == 200  # a login from before the guesses stays valid


def test_two_workers_count_guesses_together(python_of: Callable[[str], str], tmp_path: Path) -> None:
    with served(Case(DEFAULT_MLFLOW, 2, None), python_of(DEFAULT_MLFLOW), tmp_path) as server:
        assert_a_changed_password_is_refused_at_once(server)
        name, password = server.member("aimed")
        assert server.ask(CURRENT, (name, password)).status_code == 200
        begun = time.monotonic()
        with ThreadPoolExecutor(60) as pool:
            told = list(pool.map(lambda number: server.ask(CURRENT, (name, f"guess {number}")).status_code, range(60)))
        later = (time.monotonic() - begun) / 5  # one more guess is checked every 5 seconds
        assert set(told) == {401, 429}
        assert 20 <= told.count(401) <= 20 + later + 2, told  # two simultaneous guesses may count as one
        assert server.statuses(CURRENT, (name, password)) == {200}  # in both workers


def test_the_access_log_names_the_user(server: Server) -> None:
    member = server.member("logged")
    path = "api/2.0/mlflow/users/get"
    for login, status in ((member, 200), ((member[0], "wrong"), 401), (None, 401)):
        assert server.ask(f"{path}?username=logged", login).status_code == status
    wanted = re.compile(rf'127\.0\.0\.1 - (\S+) \[[^]]+\] "GET /{path}" (\d+) - \d+')
    until = time.monotonic() + 30
    while len(found := wanted.findall(server.log.read_text())) < 3 and time.monotonic() < until:
        time.sleep(0.05)  # the line is written after the answer is sent
    assert sorted(found) == [("-", "401"), ("-", "401"), ("logged", "200")]
