"""Requests that name a file of the server: the server does not open the file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.local.minors import CASES, Server, served

V2, V3 = "api/2.0/mlflow", "api/3.0/mlflow"
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True)
class Member:
    """A member with an experiment and a run that the member owns."""

    server: Server
    login: tuple[str, str]
    experiment: str
    run: str

    def ask(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        """Ask as the member; fail if there is no response in 30 s."""
        method, url = "GET" if body is None else "POST", f"{self.server.address}/{path}"
        return requests.request(method, url, auth=self.login, json=body, headers=headers, timeout=30)

    @property
    def folder(self) -> Path:
        """The folder of the server in which the member's artifacts are stored."""
        return self.server.log.parent / "artifacts" / self.experiment / self.run / "artifacts"

    def upload(self, name: str, content: str) -> Path:
        url = f"{self.server.address}/{ARTIFACTS}/{self.experiment}/{self.run}/artifacts/{name}"
        requests.put(url, content, auth=self.login, timeout=60).raise_for_status()
        assert (self.folder / name).read_text() == content
        return self.folder / name


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def member(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Member]:
    with served(request.param, python_of(request.param.version), tmp_path_factory.mktemp("files")) as server:
        login = server.member("mia")
        made = server.ask(f"{V2}/experiments/create", login, {"name": "of-mia"}).json()["experiment_id"]
        run = server.ask(f"{V2}/runs/create", login, {"experiment_id": made}).json()["run"]["info"]["run_id"]
        yield Member(server, login, made, run)


def log_model(member: Member, resources: Any) -> requests.Response:
    model = {"artifact_path": "m", "flavors": {}, "utc_time_created": "x", "run_id": member.run}
    return member.ask(
        f"{V2}/runs/log-model", {"run_id": member.run, "model_json": json.dumps({**model, "resources": resources})}
    )


def test_the_resources_of_a_model_are_not_read_from_a_file(member: Member) -> None:
    folder = member.server.log.parent
    valid = member.upload("resources.yaml", 'api_version: "1"\n')
    endless = folder / "endless"
    os.mkfifo(endless)  # reading from it never ends, as from a terminal
    try:
        answers = [log_model(member, str(path)) for path in (valid, folder / "nothing", endless)]
    finally:
        os.close(os.open(endless, os.O_RDWR | os.O_NONBLOCK))  # ends the wait of a server thread that reads from it
    assert {(answer.status_code, answer.text) for answer in answers} == {(400, answers[0].text)}
    assert "must be an object" in answers[0].text


@pytest.mark.parametrize(
    "resources", [None, [], {"api_version": "1", "databricks": {"serving_endpoint": [{"name": "e"}]}}], ids=str
)
def test_resources_as_clients_send_them_are_accepted(member: Member, resources: Any) -> None:
    answer = log_model(member, resources)
    assert answer.ok, answer.text


def cost(member: Member, number: int, model: str, provider: str) -> dict[str, float] | None:
    """Send a span of a model that has read a million tokens; return the costs of its trace, if MLflow knows them."""
    usage = json.dumps({"input_tokens": 1_000_000, "output_tokens": 0, "total_tokens": 1_000_000})
    told = {"mlflow.llm.model": model, "mlflow.llm.provider": provider, "mlflow.chat.tokenUsage": usage}
    span = {
        "traceId": f"{number:032x}",
        "spanId": f"{number:016x}",
        "name": "call",
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "2",
        "attributes": [{"key": key, "value": {"stringValue": value}} for key, value in told.items()],
    }
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    sent = member.ask("v1/traces", body, **{"X-MLflow-Experiment-Id": member.experiment})
    assert sent.ok, sent.text
    info = member.ask(f"{V3}/traces/tr-{number:032x}").json()["trace"]["trace_info"]
    found = info.get("trace_metadata", {}).get("mlflow.trace.cost")
    return None if found is None else json.loads(found)


def test_prices_are_read_only_from_the_catalogue(member: Member) -> None:
    prices = {"models": {"of-nobody": {"mode": "chat", "pricing": {"input_per_million_tokens": 7}}}}
    path = member.upload("prices.json", json.dumps(prices))
    named = str(path.with_suffix(""))
    assert named == named.lower()  # MLflow changes the name of a provider to lower case
    upwards = "/".join([".."] * 30)
    for number, provider in enumerate((named, f"{upwards}{named}", f"./{upwards}{named}"), start=1):
        assert cost(member, number, "of-nobody", provider) is None, provider


def test_prices_of_known_providers_are_found(member: Member) -> None:
    for number, provider in enumerate(("openai", "OpenAI", "unknown", "un/known"), start=100):
        found = cost(member, number, "gpt-4o", provider)
        assert found, provider
        assert found["input_cost"] > 0
