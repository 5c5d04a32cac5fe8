"""A search evaluates a pattern only on rows that its user may read, and finds the same rows as MLflow."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.local.fault_injection import fault_injection
from tests.local.minors import ADMIN, CASES, Case, Server, served
from tests.support import postgres, snapshots

V2 = "api/2.0/mlflow"
V3 = "api/3.0/mlflow"
# This expression needs minutes for a text that begins with many "a" and ends with another letter. The server gives all
# expressions of a search 1 s, and then refuses the search.
SLOW = "^.?(a+)+$"
EVIL, PLAIN = "a" * 45 + "!", "A Snowball"
ISSUE, PROMPT = "iss-1", "poem/1"
FIELDS = (
    "feedback.quality",
    "expectation.answer",
    "trace.name",
    "trace.request_id",
    "trace.client_request_id",
    "tags.words",
    "metadata.words",
    "metadata.`mlflow.trace.session`",
    "span.name",
)
# with the second condition, SQLite starts with a table without experiments
JOINED = ("", f"issue.id = '{ISSUE}'", f"prompt = '{PROMPT}'", "feedback.quality IS NOT NULL")
SEARCHES = [" AND ".join(filter(None, (f"{field} RLIKE '{SLOW}'", other))) for field in FIELDS for other in JOINED]
PATTERNS = {"RLIKE": r"(Sno|tr-p)\w+", "LIKE": "%now%", "ILIKE": "%NOW%"}
LEGITIMATE = [
    *(f"{field} {comparator} '{pattern}'" for field in FIELDS for comparator, pattern in PATTERNS.items()),
    "span.attributes.color LIKE '%red%'",
    "span.attributes.color RLIKE 'r.d'",
    *(f"tags.words RLIKE 'Snow' AND {other}" for other in JOINED if other),
    "feedback.quality RLIKE 'Snow' AND expectation.answer LIKE '%Snow%' AND span.name ILIKE '%snow%'",
]

Login = tuple[str, str]


def store(server: Server, experiment: str, trace: str, text: str) -> None:
    """Store a trace with a text in all fields that a search can name."""
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    moment = "2026-01-01T00:00:00Z"
    common = {"source": {"source_type": "HUMAN", "source_id": "somebody"}}
    common |= {"create_time": moment, "last_update_time": moment}
    said = [
        {**common, "assessment_name": "quality", "feedback": {"value": text}},
        {**common, "assessment_name": "answer", "expectation": {"value": text}},
        {**common, "assessment_name": ISSUE, "issue": {"issue_name": "an issue"}},
    ]
    info = {"trace_id": trace, "client_request_id": text, "trace_location": where, "request_time": moment}
    info |= {"state": "OK", "assessments": said, "tags": {"words": text, "mlflow.traceName": text}}
    info |= {"trace_metadata": {"words": text, "mlflow.trace.session": text}}
    server.change(f"{V3}/traces", {"trace": {"trace_info": info}})


def store_further(server: Server, experiment: str, trace: str, text: str) -> None:
    """Store a span of a trace and its link to a prompt, in SQLite."""
    content = f'{{"name": "{text}", "attributes": {{"color": "\\"red\\""}}}}'
    span = (trace, int(experiment), f"span-of-{trace}"[:50], text, "CHAIN", "OK", 1, 2, content)
    link = (f"link-of-{trace}"[:36], "trace", trace, "prompt_version", PROMPT, 1)
    with closing(sqlite3.connect(server.log.with_name("tracking.db"), timeout=60)) as database, database:
        columns = "trace_id, experiment_id, span_id, name, type, status, start_time_unix_nano, end_time_unix_nano"
        database.execute(f"INSERT INTO spans ({columns}, content) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", span)
        columns = "association_id, source_type, source_id, destination_type, destination_id, created_time"
        database.execute(f"INSERT INTO entity_associations ({columns}) VALUES (?, ?, ?, ?, ?, ?)", link)


def search(address: str, login: Login, experiment: str, text: str) -> requests.Response:
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
    body: dict[str, Any] = {"locations": [where], "filter": text, "max_results": 100}
    return requests.post(f"{address}/{V3}/traces/search", json=body, auth=login, timeout=120)


def found(address: str, login: Login, experiment: str, text: str) -> list[str]:
    answer = search(address, login, experiment, text)
    assert answer.ok, (text, answer.text)
    return sorted(trace["trace_id"] for trace in answer.json().get("traces", ()))


@dataclass(frozen=True)
class Scene:
    """A server with an experiment that a member may read, and a hidden experiment."""

    server: Server
    reader: Login
    own: str
    hidden: str

    def answers(self, login: Login, experiment: str, searches: list[str]) -> dict[str, int]:
        return {text: search(self.server.address, login, experiment, text).status_code for text in searches}


def prepared(server: Server) -> Scene:
    scene = Scene(server, server.member("reader"), server.experiment("own"), server.experiment("hidden"))
    grant = {"username": scene.reader[0], "resource_type": "experiment", "resource_id": scene.own}
    server.change(f"{V3}/users/permissions/grant", {**grant, "permission": "READ"})
    store(server, scene.own, "tr-plain-snow", PLAIN)
    store(server, scene.hidden, f"tr-{EVIL[:45]}-", EVIL)
    return scene


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def scene(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    with served(request.param, python_of(request.param.version), tmp_path_factory.mktemp("patterns")) as server:
        scene = prepared(server)
        store_further(server, scene.own, "tr-plain-snow", PLAIN)
        store_further(server, scene.hidden, f"tr-{EVIL[:45]}-", EVIL)
        yield scene


def test_an_expression_is_not_evaluated_on_traces_of_other_experiments(scene: Scene) -> None:
    answers = scene.answers(scene.reader, scene.own, SEARCHES)
    assert {text: status for text, status in answers.items() if status != 200} == {}
    # the expression is slow on a value of each of these fields
    first = [text for text in SEARCHES if " AND " not in text and "request_id" not in text]
    assert set(scene.answers(ADMIN, scene.hidden, first).values()) == {400}


def test_other_searches_of_traces_follow_the_same_rule(scene: Scene) -> None:
    server, filters = scene.server, [text for text in SEARCHES if text.startswith(("feedback", "tags"))]
    for text in filters:
        listed = f"{server.address}/{V2}/traces"
        answer = requests.get(
            listed, params={"experiment_ids": scene.own, "filter": text}, auth=scene.reader, timeout=120
        )
        assert answer.status_code == 200, (text, answer.text)
        told = {"experiment_ids": [scene.own], "filter_string1": text, "filter_string2": "trace.status = 'OK'"}
        counted = server.ask(f"{V3}/traces/calculate-filter-correlation", scene.reader, told)
        assert counted.status_code == 200, (text, counted.text)
        assert counted.json().get("filter1_count", 0) == 0


@contextmanager
def with_fault(scene: Scene, python: str, folder: Path, fault: str, **env: str) -> Iterator[str]:
    """Serve copies of the scene's databases with a fault; yield the address."""
    (home := folder / fault).mkdir()
    for name in snapshots.NAMES:
        (home / name).write_bytes(snapshots.content(scene.server.log.with_name(name)))
    with fault_injection(python, folder)(fault, **env) as address:
        yield address


def test_like_is_not_evaluated_on_traces_of_other_experiments(
    scene: Scene, python_of: Callable[[str], str], tmp_path: Path
) -> None:
    """The time of a long pattern would tell whether a hidden text begins as the pattern does."""
    first = [f"{field} {comparator} '{PATTERNS[comparator]}'" for field in FIELDS for comparator in ("LIKE", "ILIKE")]
    searches = [" AND ".join(filter(None, (text, other))) for text in first for other in JOINED]
    python = python_of(scene.server.case.version)
    with with_fault(scene, python, tmp_path, "own like", HIDDEN=EVIL) as address:
        answers = {text: search(address, scene.reader, scene.own, text) for text in searches}
        assert {text: answer.text for text, answer in answers.items() if not answer.ok} == {}
        # LIKE fails on a value of each of these fields
        hidden = [search(address, ADMIN, scene.hidden, text).ok for text in first if "trace.request_id" not in text]
        assert not any(hidden)


def test_searches_find_the_same_traces_as_mlflows_search(
    scene: Scene, python_of: Callable[[str], str], tmp_path: Path
) -> None:
    address, traces = scene.server.address, {}
    for text in LEGITIMATE:
        for login, experiment in ((scene.reader, scene.own), (ADMIN, scene.own), (ADMIN, scene.hidden)):
            traces[text, login, experiment] = found(address, login, experiment, text)
        assert traces[text, scene.reader, scene.own] == traces[text, ADMIN, scene.own]
    missed = {text for (text, login, _), ids in traces.items() if login == scene.reader and not ids}
    assert missed <= {text for text in LEGITIMATE if "request_id" in text}, missed
    with with_fault(scene, python_of(scene.server.case.version), tmp_path, "own search") as unchanged:
        assert {key: found(unchanged, key[1], key[2], key[0]) for key in traces} == traces


def test_a_pattern_too_long_for_sqlite_is_always_refused(scene: Scene) -> None:
    """SQLite fails only if there is a row to evaluate the pattern on."""
    server, long = scene.server, "x" * 50_001
    for name in ("quality", "nothing"):
        answer = search(server.address, scene.reader, scene.own, f"feedback.{name} LIKE '{long}'")
        assert answer.status_code == 400, answer.text
        assert "is longer than 50000 bytes" in answer.text
    assert found(server.address, scene.reader, scene.own, f"feedback.quality LIKE '{long[:50_000]}'") == []


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Yield the URL of a PostgreSQL database and the folder of MLflow's driver for it."""
    folder = tmp_path_factory.mktemp("postgres")
    with postgres.running(postgres.programs(folder)) as urls:
        yield urls["tracking"], postgres.driver(folder)


@pytest.mark.parametrize("case", CASES[:1], ids=lambda case: case.version)
def test_a_search_on_postgresql_finds_expressions_and_refuses_failing_patterns(
    case: Case, python_of: Callable[[str], str], database: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "tracking.db").touch()  # the server uses the other database
    more = {"MLFLOW_BACKEND_STORE_URI": database[0], "PYTHONPATH": database[1]}
    with served(case, python_of(case.version), tmp_path, more) as server:
        scene = prepared(server)
        store(server, scene.hidden, "tr-2", "secret")
        # PostgreSQL fails on this pattern only if a text begins with the part before the backslash
        for begin in ("secret", "nothing"):
            answer = search(server.address, scene.reader, scene.own, f"tags.words LIKE '{begin}\\'")
            assert "ends with the escape character" in answer.text
            assert answer.status_code == 400
        for field in FIELDS:
            if "request_id" not in field and "span" not in field:
                assert found(server.address, scene.reader, scene.own, f"{field} RLIKE 'Snow'") == ["tr-plain-snow"]
                assert found(server.address, scene.reader, scene.own, f"{field} RLIKE 'secret'") == []
                assert found(server.address, ADMIN, scene.hidden, f"{field} RLIKE 'secret'") == ["tr-2"]
                assert found(server.address, scene.reader, scene.own, f"{field} LIKE '%Snow%'") == ["tr-plain-snow"]
                assert found(server.address, scene.reader, scene.own, f"{field} ILIKE '%SECRET%'") == []
