"""No single request of a member blocks other clients or exhausts the memory of the server.

The limits must allow the requests of real clients.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.local.minors import CASES, Server, served

V2, V3 = "api/2.0/mlflow", "api/3.0/mlflow"
SCRIPT = Path(__file__).with_name("logging_large.py")
KIB, MIB = 1 << 10, 1 << 20
SKILL = b"---\nname: mia-upload\ndescription: does nothing\n---\n"


@dataclass(frozen=True)
class Member:
    """A member, and an experiment of the member."""

    server: Server
    login: tuple[str, str]
    experiment: str

    def send(self, path: str, **options: Any) -> requests.Response:
        return requests.post(f"{self.server.address}/{path}", auth=self.login, timeout=300, **options)

    def export(self, body: bytes, **headers: str) -> requests.Response:
        """Send spans as OpenTelemetry's exporters do."""
        kind = {"Content-Type": "application/x-protobuf", "X-Mlflow-Experiment-Id": self.experiment}
        return self.send("v1/traces", data=body, headers=kind | headers)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def member(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Member]:
    with served(request.param, python_of(request.param.version), tmp_path_factory.mktemp("requests")) as server:
        login = server.member("mia")
        made = server.ask(f"{V2}/experiments/create", login, {"name": "of-mia"}).json()
        yield Member(server, login, made["experiment_id"])


def has_skills(member: Member) -> bool:
    return not member.server.case.version.startswith("3.17")


@pytest.mark.parametrize("route", ["mcp-servers", "skills"])
def test_the_hosts_of_icons_are_not_looked_up(member: Member, route: str) -> None:
    if route == "skills" and not has_skills(member):
        pytest.skip("this MLflow has no skills")
    prefix = "mia/" if route == "mcp-servers" else "mia-"
    for name, source, status in (
        (f"{prefix}icons", "https://no-such-host.invalid/icon.png", 200),
        (f"{prefix}plain", "http://example.org/icon.png", 400),
    ):
        answer = member.send(f"{V3}/{route}", json={"name": name, "icons": [{"src": source}]})
        assert answer.status_code == status, answer.text


def wrong(count: int, padding: int = 0) -> dict[str, Any]:
    """Return a version of an MCP server with wrong packages."""
    return {
        "server_json": {"name": "mia/one", "version": "1.0.0", "packages": [1] * count, "description": "x" * padding}
    }


@pytest.mark.parametrize(
    ("body", "framing"),
    [
        pytest.param(wrong(1, 600 * KIB), "length", id="too large"),
        pytest.param(wrong(1, 600 * KIB), "chunked", id="too large, of unknown length"),
        pytest.param(wrong(50_000), "length", id="too many values"),
        pytest.param(wrong(50_000), "chunked", id="too many values, of unknown length"),
        pytest.param({"name": "mia-x", **dict.fromkeys(map(str, range(40_000)), 1)}, "length", id="too many keys"),
    ],
)
def test_a_body_that_costs_much_to_validate_is_refused(member: Member, body: Any, framing: str) -> None:
    text = json.dumps(body).encode()
    routes = [
        f"{V3}/mcp-servers/mia/one/versions",
        *([f"{V3}/skills", f"{V3}/skills/mia-x/versions"] if has_skills(member) else []),
    ]
    for route in routes:
        # MLflow's permission checks decode the body of a form, too; only new versions of skills have files in forms
        forms = [] if route.endswith("skills/mia-x/versions") else ["multipart/form-data; boundary=x"]
        for kind in ("application/json", *forms):
            data = text if framing == "length" else iter([text])
            answer = member.send(route, data=data, headers={"Content-Type": kind})
            assert (answer.status_code, len(answer.content) < KIB) == (413, True), answer.text[:KIB]


def test_an_answer_names_only_the_first_errors(member: Member) -> None:
    answer = member.send(f"{V3}/mcp-servers/mia/one/versions", json=wrong(1000))
    assert answer.status_code == 400, answer.text
    assert 1 <= answer.text.count("packages.") <= 20


def test_a_large_catalogue_of_tools_is_stored(member: Member) -> None:
    schema = {
        "type": "object",
        "properties": {f"p{n}": {"type": "string", "description": "words, " + "more words " * 4} for n in range(20)},
    }
    tools = [{"name": f"tool-{n}", "description": "what it does, " * 3, "inputSchema": schema} for n in range(100)]
    body = {"server_json": {"name": "mia/large", "version": "1.0.0"}, "tools": tools}
    assert 150 * KIB < len(json.dumps(body)) < 250 * KIB
    answer = member.send(f"{V3}/mcp-servers/mia/large/versions", json=body)
    assert answer.ok, answer.text
    assert len(answer.json()["tools"]) == 100


def test_a_large_skill_is_uploaded_with_little_metadata(member: Member) -> None:
    if not has_skills(member):
        pytest.skip("this MLflow has no skills")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in (("SKILL.md", SKILL), ("data.bin", os.urandom(MIB))):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    for metadata, status in (({}, 200), (dict.fromkeys(map(str, range(10_000)), 1), 413)):
        parts = {"metadata": (None, json.dumps(metadata)), "content": ("s.tar.gz", packed.getvalue())}
        answer = member.send(f"{V3}/skills/mia-upload/versions", files=parts)
        assert answer.status_code == status, answer.text


def test_a_large_query_is_refused_before_it_is_parsed(member: Member) -> None:
    large = "{" + "a " * 40_000 + "}"
    assert member.send("graphql", json={"query": large}).status_code == 413
    usual = "query Q($id: String!) { mlflowGetExperiment(input: {experimentId: $id}) { experiment { name } } }"
    body = {"operationName": "Q", "query": usual, "variables": {"id": member.experiment}}
    answer = member.send("graphql", json=body)
    assert answer.json()["data"]["mlflowGetExperiment"]["experiment"]["name"] == "of-mia", answer.text


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field of a message of Protocol Buffers."""
    length, written = len(content), b""
    while length > 127:
        written += bytes([length & 127 | 128])
        length >>= 7
    return bytes([number << 3 | 2]) + written + bytes([length]) + content


def exported(*spans: bytes) -> bytes:
    """Return an ExportTraceServiceRequest: spans of one scope of one resource."""
    return field(1, field(2, b"".join(field(2, span) for span in spans)))


def span(trace: int, number: int, more: bytes = b"") -> bytes:
    """Return a root span."""
    return field(1, trace.to_bytes(16)) + field(2, number.to_bytes(8)) + field(5, b"s") + more


NO_SPAN = field(5, b"has no id")


def test_spans_are_converted_while_others_are_served(member: Member) -> None:
    body = exported(*(span(1, n) for n in range(1, 30_000)), NO_SPAN)  # the last span is refused, so no span is written
    took: list[float] = []

    def export() -> None:
        begun = time.monotonic()
        assert member.export(body).status_code == 422
        took.append(time.monotonic() - begun)

    thread = threading.Thread(target=export)
    thread.start()
    longest = 0.0
    with requests.Session() as session:
        while thread.is_alive():
            begun = time.monotonic()
            session.get(f"{member.server.address}/health", timeout=60).raise_for_status()
            longest = max(longest, time.monotonic() - begun)
    thread.join()
    assert took, "the export was not answered as expected"
    assert longest < took[0] / 2, f"others waited {longest:.2f} s of {took[0]:.2f} s"


EMPTY = b"\x00"
EVENT, ATTRIBUTE = bytes([11 << 3 | 2]) + EMPTY, bytes([9 << 3 | 2]) + EMPTY


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(exported(span(2, 1, EVENT * 300_000), NO_SPAN), 413, id="events"),
        pytest.param(exported(span(2, 1, ATTRIBUTE * 1_100_000), NO_SPAN), 413, id="attributes"),
        pytest.param(exported(*(span(2, n) for n in range(1, 60_000)), NO_SPAN), 413, id="spans"),
        pytest.param(exported(span(2, 1, EVENT * 300_000)) + b"\xff", 400, id="events that end within a field"),
    ],
)
def test_an_export_with_too_many_parts_is_refused_before_it_is_decoded(
    member: Member, body: bytes, status: int
) -> None:
    answer = member.export(body)
    assert answer.status_code == status, answer.text
    assert "at once" in answer.text if status == 413 else "format" in answer.text


def test_an_export_as_json_has_a_limit_too(member: Member) -> None:
    spans = [{"traceId": "02", "spanId": "01", "events": [{}] * 310_000}, {}]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
    answer = member.export(body, **{"Content-Type": "application/json"})
    assert answer.status_code == 413, answer.text


@pytest.mark.parametrize("encoding", ["", "deflate"])
def test_spans_of_exporters_are_written_and_linked_to_a_run(member: Member, encoding: str) -> None:
    run = member.send(f"{V2}/runs/create", json={"experiment_id": member.experiment, "start_time": 1}).json()
    run_id, trace = run["run"]["info"]["run_id"], 7 + len(encoding)
    body = exported(span(trace, 1))
    headers = {"X-Mlflow-Run-Id": run_id, **({"Content-Encoding": encoding} if encoding else {})}
    answer = member.export(zlib.compress(body) if encoding else body, **headers)
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/x-protobuf"), answer.text
    search = {
        "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": member.experiment}}],
        "filter": f"attributes.run_id = '{run_id}'",
    }
    found = member.send(f"{V3}/traces/search", json=search)
    assert [info["trace_id"] for info in found.json()["traces"]] == [f"tr-{trace:032x}"], found.text


def test_an_export_without_permission_writes_nothing(member: Member) -> None:
    other = member.server.experiment("of-the-admin")
    answer = member.export(exported(span(99, 1)), **{"X-Mlflow-Experiment-Id": other})
    assert answer.status_code == 403, answer.text


def test_large_data_of_clients_is_accepted(member: Member, python_of: Callable[[str], str], tmp_path: Path) -> None:
    user, password = member.login
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "MLFLOW_TRACKING_URI": member.server.address,
        "MLFLOW_TRACKING_USERNAME": user,
        "MLFLOW_TRACKING_PASSWORD": password,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [python_of(member.server.case.version), str(SCRIPT), "large"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout.splitlines()[-1:] == ["done"], done.stdout + done.stderr
