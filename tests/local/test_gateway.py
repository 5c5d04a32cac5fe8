"""Members use only the endpoints of the gateway, and requests are stored in the experiments of these endpoints."""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from deployer.plugin.gateway.internal_headers import BYPASS
from tests.local.minors import ADMIN, CASES, Server, served

V2 = "api/2.0/mlflow"
V3 = "api/3.0/mlflow"
ENDPOINTS = f"{V3}/gateway/endpoints"
SAID = [{"role": "user", "content": "hello"}]
NOWHERE = "https://127.0.0.1:9/v1"  # no model listens at this address
GIT_CALLS = "git-calls"  # a file with a line for each call of `git`

Login = tuple[str, str]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def server(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    more = {
        # allows models on this machine over HTTP
        "MLFLOW_GATEWAY_API_BASE_ALLOW_PRIVATE_IPS": "true",
        "MLFLOW_GATEWAY_API_BASE_ALLOWED_SCHEMES": "http,https",
        # MLflow writes a summary under the caller's trace only if it exports spans before the call ends. With batches,
        # this depends on the moment.
        "MLFLOW_USE_BATCH_SPAN_PROCESSOR": "false",
    }
    folder = tmp_path_factory.mktemp("gateway")
    git = folder / "bin/git"
    git.parent.mkdir()
    git.write_text(f"#!/bin/sh\necho >> {folder / GIT_CALLS}\necho git version 2.39.5\n")
    git.chmod(0o755)
    more["PATH"] = f"{git.parent}:/usr/bin:/bin"
    with served(request.param, python_of(request.param.version), folder, more) as server:
        yield server


@pytest.fixture(scope="module")
def mia(server: Server) -> Login:
    return server.member("mia")


def experiment(server: Server, login: Login, name: str) -> str:
    answer = server.ask(f"{V2}/experiments/create", login, {"name": name})
    answer.raise_for_status()
    return str(answer.json()["experiment_id"])


def ask_for_endpoint(server: Server, name: str, api_base: str = NOWHERE, **more: Any) -> requests.Response:
    """Request a new endpoint of a model, as the administrator."""
    secret = {"secret_name": f"{name}-key", "provider": "openai", "secret_value": {"api_key": "of-nobody"}}
    where = {"auth_config": {"api_base": api_base}}
    key = server.change(f"{V3}/gateway/secrets/create", {**secret, **where})["secret"]["secret_id"]
    definition = {"name": f"{name}-model", "secret_id": key, "provider": "openai", "model_name": "gpt-4o"}
    model = server.change(f"{V3}/gateway/model-definitions/create", definition)["model_definition"]
    models = [{"model_definition_id": model["model_definition_id"], "linkage_type": "PRIMARY", "weight": 1.0}]
    answer: requests.Response = server.ask(
        f"{ENDPOINTS}/create", ADMIN, {"name": name, "model_configs": models, **more}
    )
    return answer


def endpoint(server: Server, name: str, user: Login, **more: Any) -> dict[str, Any]:
    """Create an endpoint that a member may use."""
    answer = ask_for_endpoint(server, name, **more)
    assert answer.ok, answer.text
    made: dict[str, Any] = answer.json()["endpoint"]
    grant = {"resource_type": "gateway_endpoint", "resource_id": made["endpoint_id"], "permission": "USE"}
    server.change(f"{V3}/users/permissions/grant", {"username": user[0], **grant})
    return made


def rows(server: Server, query: str, *values: str) -> list[Any]:
    with closing(sqlite3.connect(server.log.with_name("tracking.db"), timeout=60, isolation_level=None)) as database:
        return database.execute(query, values).fetchall()


def traces_in(server: Server, experiment_id: str) -> int:
    return int(rows(server, "SELECT count(*) FROM trace_info WHERE experiment_id = ?", experiment_id)[0][0])


# --- the experiment of an endpoint ---


def test_members_cannot_use_names_of_the_gateways_experiments(server: Server, mia: Login) -> None:
    own = experiment(server, mia, "gateway of mia")
    rename = {"experiment_id": own, "new_name": "gateway/renamed"}
    refused = [
        server.ask(f"{V2}/experiments/create", mia, {"name": "gateway/created"}),
        server.ask(f"{V2}/experiments/update", mia, rename),
    ]
    assert [answer.status_code for answer in refused] == [403, 403], [answer.text for answer in refused]
    server.ask(f"{V2}/experiments/update", mia, {**rename, "new_name": "gateways/renamed"}).raise_for_status()
    experiment(server, ADMIN, "gateway/by-hand")
    for name in ("created", "renamed", "by-hand"):
        endpoint(server, name, mia)
        asked = f"{V2}/experiments/get-by-name?experiment_name=gateway/{name}"
        assert [server.ask(asked, login).status_code for login in (mia, ADMIN)] == [403, 200], name


def test_the_gateway_uses_no_experiment_of_a_member(server: Server, mia: Login) -> None:
    """Such experiments are older than the reservation of the name."""
    for name in ("taken", "taken-later"):
        own = experiment(server, mia, f"before-{name}")
        rows(server, "UPDATE experiments SET name = ? WHERE experiment_id = ?", f"gateway/{name}", own)
    refused = ask_for_endpoint(server, "taken")
    assert (refused.status_code, "mia" in refused.text) == (400, True), refused.text
    made = endpoint(server, "taken-later", mia, usage_tracking=False)
    tracked = {"endpoint_id": made["endpoint_id"], "usage_tracking": True}
    assert server.ask(f"{ENDPOINTS}/update", ADMIN, tracked).status_code == 400
    chosen = {**tracked, "experiment_id": experiment(server, ADMIN, "chosen")}
    assert server.change(f"{ENDPOINTS}/update", chosen)["endpoint"]["experiment_id"] == chosen["experiment_id"]
    (found,) = rows(server, "SELECT experiment_id FROM experiments WHERE name = ?", "gateway/taken")
    permission = {"username": mia[0], "resource_type": "experiment", "resource_id": str(found[0])}
    server.change(f"{V3}/users/permissions/revoke", permission)
    again = {"endpoint_id": endpoint(server, "again", mia, usage_tracking=False)["endpoint_id"], "name": "taken"}
    updated = server.change(f"{ENDPOINTS}/update", {**again, "usage_tracking": True})["endpoint"]
    assert updated["experiment_id"] == str(found[0])


# --- traces of requests ---


CALLS = {
    "under the caller's trace": (True, "gateway/{}/mlflow/invocations"),
    "passed through, not tracked": (False, "gateway/openai/v1/chat/completions"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_request_leaves_no_trace_outside_of_its_endpoints_experiment(server: Server, mia: Login, call: str) -> None:
    tracked, path = CALLS[call]
    name, trace = f"with-{tracked}", uuid.uuid4().hex
    endpoint(server, name, mia, usage_tracking=tracked)
    following = endpoint(server, f"{name}-following", mia)["experiment_id"]

    def send(path: str, model: str, **headers: str) -> None:
        address, named = (
            f"{server.address}/{path.format(model)}",
            {} if model in path.format(model) else {"model": model},
        )
        answer = requests.post(address, json={**named, "messages": SAID}, auth=mia, headers=headers, timeout=120)
        assert answer.status_code >= 500, answer.text  # the model does not answer

    before = traces_in(server, "0")
    send(path, name, traceparent=f"00-{trace}-0123456789abcdef-01")
    for _ in range(3):  # the server writes traces in the order of the requests, but after its answers
        send(CALLS["under the caller's trace"][1], f"{name}-following")
    deadline = time.monotonic() + 120
    while traces_in(server, following) < 3:
        assert time.monotonic() < deadline, "the server has stored no trace"
        time.sleep(0.5)
    assert traces_in(server, "0") == before
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment(server, mia, name)}}
    info = {"trace_id": f"tr-{trace}", "trace_location": where, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
    for _ in range(2):  # the caller's own trace; clients may send a trace again
        answer = server.ask(f"{V3}/traces", mia, {"trace": {"trace_info": info}})
        assert answer.ok, answer.text


ENDPOINT_ID = "mlflow.gateway.endpointId"


def test_a_traced_request_starts_no_program(server: Server, mia: Login) -> None:
    """MLflow would run `git` for the first trace of a process, with the server's whole environment."""
    stored = endpoint(server, "traced", mia)["experiment_id"]
    answer = server.ask("gateway/traced/mlflow/invocations", mia, {"messages": SAID})
    assert answer.status_code >= 500, answer.text  # the model does not answer
    deadline = time.monotonic() + 120
    while traces_in(server, stored) < 1:
        assert time.monotonic() < deadline, "the server has stored no trace"
        time.sleep(0.5)
    assert not (server.log.parent / GIT_CALLS).exists()


@pytest.mark.parametrize("prefix", ["api/2.0", "api/3.0"])
def test_a_members_trace_adds_no_cost_to_the_gateway(server: Server, mia: Login, prefix: str) -> None:
    path, own = f"{prefix}/mlflow/traces", experiment(server, mia, f"costs-{prefix}")
    metadata = {ENDPOINT_ID: "e-of-others", "kept": "yes"}
    pairs = [{"key": key, "value": value} for key, value in metadata.items()]
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": own}}

    def send(trace: str, login: Login) -> str:
        """Send a trace in the given version of the API; return its identifier."""
        if prefix == "api/3.0":
            times = {"request_time": "2026-01-01T00:00:00Z", "state": "OK"}
            info = {"trace_id": trace, "trace_location": where, "trace_metadata": metadata, **times}
            assert server.ask(path, login, {"trace": {"trace_info": info}}).ok
            return trace
        begun = {"experiment_id": own, "timestamp_ms": 1, "request_metadata": pairs}
        made = str(server.ask(path, login, begun).json()["trace_info"]["request_id"])
        ended = {"timestamp_ms": 2, "status": "OK", "request_metadata": pairs}
        assert server.ask(f"{path}/{made}", login, ended, "PATCH").ok
        return made

    for login, names_endpoint in ((mia, False), (ADMIN, True)):
        trace = send(f"tr-cost-of-{login[0]}", login)
        found = rows(server, "SELECT key FROM trace_request_metadata WHERE request_id = ?", trace)
        assert [(key,) in found for key in metadata] == [names_endpoint, True], found


# --- permissions ---


@pytest.mark.parametrize("path", ["responses", "responses/compact"])
def test_a_member_with_use_reaches_the_model(server: Server, mia: Login, path: str) -> None:
    name, other = f"used-by-{path.replace('/', '-')}", server.member(f"without-{path.replace('/', '-')}")
    endpoint(server, name, mia)
    body = {"model": name, "input": "hello"}
    answers = [server.ask(f"gateway/openai/v1/{path}", login, body) for login in (mia, other)]
    assert answers[0].status_code >= 500, answers[0].text  # the model does not answer
    assert answers[1].status_code == 403, answers[1].text


def test_the_other_routes_of_a_provider_are_closed(server: Server, mia: Login) -> None:
    with provider() as (address, received):
        endpoint(server, "with-other-routes", mia, api_base=address)
        for path in ("chat/completions", "files", "..%2Fadmin"):
            for login in (mia, ADMIN):
                answer = server.ask(f"gateway/proxy/with-other-routes/{path}", login, {"messages": SAID})
                assert answer.status_code == 403, answer.text
    assert received == []


# --- headers ---


@contextmanager
def provider() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Run a provider of models on this machine; yield its address and the headers of all requests to the provider."""
    received: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            received.append({name.lower(): value for name, value in self.headers.items()})
            message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}
            body = json.dumps(
                {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [message]}
            )
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}/v1", received
        finally:
            running.shutdown()
            thread.join()


def test_a_provider_gets_only_the_headers_that_it_needs(server: Server, mia: Login) -> None:
    """A provider may read from a header where to send the key, and must not get the password of a member."""
    with provider() as (address, received):
        endpoint(server, "with-headers", mia, api_base=address)
        chat, body = f"{server.address}/gateway/openai/v1/chat/completions", {"model": "with-headers", "messages": SAID}
        needed = {"OpenAI-Beta": "assistants=v2", "User-Agent": "codex_cli 1.0"}
        chosen = {"x-portkey-custom-host": "https://elsewhere.example", "Cookie": "a=b"}
        requests.post(chat, json=body, auth=mia, headers={**needed, **chosen}, timeout=60).raise_for_status()
        login = {"X-MLflow-Authorization": basic(mia), "Authorization": "Bearer of-mia"}
        own = requests.post(chat, json=body, headers={**needed, **chosen, **login}, timeout=60)
        own.raise_for_status()
    usual, with_own_key = received
    for found in received:
        assert {name: found.get(name.lower()) for name in needed} == needed
        assert not {name.lower() for name in chosen} & found.keys(), found
        assert not any("mlflow" in name for name in found), found
    assert usual["authorization"] == "Bearer of-nobody"
    assert with_own_key["authorization"] == "Bearer of-mia"


def basic(login: Login) -> str:
    return f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"


def test_the_removed_header_is_the_one_that_mlflow_reads(server: Server) -> None:
    program = "from mlflow.gateway.guardrails import _SANITIZE_BYPASS_HEADER as header; print(header.lower())"
    found = subprocess.run([server.python, "-c", program], check=True, capture_output=True, text=True, timeout=300)
    assert found.stdout.split() == [BYPASS.decode()]
