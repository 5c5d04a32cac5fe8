"""Only administrators set locations of artifacts; no location gives a member the data of another member."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests

from tests.local.minors import ADMIN, CASES, Server, served

API = "api/2.0/mlflow"
V3 = "api/3.0/mlflow"
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
SECRET = "what only its owner may read"
LOCATION, ARCHIVE, SPANS = "mlflow.artifactLocation", "mlflow.trace.archiveLocation", "mlflow.trace.spansLocation"


@dataclass(frozen=True)
class Scene:
    """A member with an experiment, and the artifacts of a trace in an experiment that the member may not read."""

    server: Server
    member: tuple[str, str]
    experiment: str
    foreign: str  # the other experiment
    target: str  # the location of its trace

    def ask(self, path: str, body: Any = None, method: str | None = None, **headers: str) -> requests.Response:
        """Ask as the member."""
        method = method or ("GET" if body is None else "POST")
        url = f"{self.server.address}/{path}"
        return requests.request(method, url, auth=self.member, json=body, headers=headers, timeout=60)

    def trace(self, **tags: str) -> requests.Response:
        """Start a trace as clients before 3.0 do."""
        listed = [{"key": key, "value": value} for key, value in tags.items()]
        return self.ask(f"{API}/traces", {"experiment_id": self.experiment, "timestamp_ms": 1, "tags": listed})

    def new_trace(self) -> str:
        """Start a trace; return its identifier."""
        begun = self.trace()
        begun.raise_for_status()
        return str(begun.json()["trace_info"]["request_id"])

    def tags(self, trace: str) -> dict[str, str]:
        """Return the tags of a trace."""
        info = self.ask(f"{API}/traces/{trace}/info").json()["trace_info"]
        return {tag["key"]: tag["value"] for tag in info["tags"]}

    def artifact(self, trace: str) -> requests.Response:
        """Request the data of a trace."""
        return self.ask(f"ajax-api/2.0/mlflow/get-trace-artifact?request_id={quote(trace, safe='')}")

    def stored(self, query: str, *values: str) -> list[Any]:
        """Run a statement in MLflow's database; return the rows."""
        with closing(sqlite3.connect(self.server.log.with_name("tracking.db"), timeout=60)) as database, database:
            return database.execute(query, values).fetchall()


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def scene(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("locations")
    with served(request.param, python_of(request.param.version), folder) as server:
        member, foreign = server.member("member"), server.experiment("foreign")
        made = server.ask(f"{API}/experiments/create", member, {"name": "own"})
        kept = f"{foreign}/traces/tr-foreign/artifacts"
        put = requests.put(f"{server.address}/{ARTIFACTS}/{kept}/traces.json", SECRET, auth=ADMIN, timeout=60)
        put.raise_for_status()
        yield Scene(server, member, made.json()["experiment_id"], foreign, f"mlflow-artifacts:/{kept}")


def assert_refused(answer: requests.Response) -> None:
    assert answer.status_code in {400, 403}, answer.text
    said = ("Only administrators may choose where artifacts are kept", "is immutable and cannot be set on a trace")
    assert any(words in answer.text for words in said), answer.text


def by_tag(path: str) -> Callable[[Scene, str, dict[str, str]], Iterator[requests.Response]]:
    def set_them(scene: Scene, trace: str, tags: dict[str, str]) -> Iterator[requests.Response]:
        for key, value in tags.items():
            yield scene.ask(f"{path}/traces/{trace}/tags", {"key": key, "value": value}, "PATCH")

    return set_them


def by_start(scene: Scene, trace: str, tags: dict[str, str]) -> Iterator[requests.Response]:
    where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": scene.experiment}}
    info = {"trace_id": trace, "trace_location": where, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
    yield scene.ask(f"{V3}/traces", {"trace": {"trace_info": {**info, "tags": tags}}})
    yield scene.ask(f"{V3}/traces", {"trace": {"trace_info": {**info, "trace_id": f"{trace}-new", "tags": tags}}})


def by_old_start(scene: Scene, _trace: str, tags: dict[str, str]) -> Iterator[requests.Response]:
    yield scene.trace(**tags)


def by_end(scene: Scene, trace: str, tags: dict[str, str]) -> Iterator[requests.Response]:
    listed = [{"key": key, "value": value} for key, value in tags.items()]
    yield scene.ask(f"{API}/traces/{trace}", {"timestamp_ms": 2, "status": "OK", "tags": listed}, "PATCH")


def by_otlp(scene: Scene, trace: str, tags: dict[str, str]) -> Iterator[requests.Response]:
    attributes = [
        {"key": f"mlflow.traceTag.{key}", "value": {"stringValue": f'"{value}"'}} for key, value in tags.items()
    ]
    span = {
        "traceId": trace.removeprefix("tr-").rjust(32, "0"),
        "spanId": "00000000000000aa",
        "name": "root",
        "startTimeUnixNano": "1",
        "endTimeUnixNano": "2",
        "attributes": attributes,
    }
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    yield scene.ask("v1/traces", body, **{"X-MLflow-Experiment-Id": scene.experiment})


WAYS = {
    "tag": by_tag(API),
    "tag v3": by_tag(V3),
    "start": by_start,
    "old start": by_old_start,
    "end": by_end,
    "otlp": by_otlp,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_member_cannot_set_the_location_of_a_trace(scene: Scene, way: str) -> None:
    archive = scene.server.log.with_name("elsewhere") / scene.foreign
    trace = scene.new_trace()
    for key, value in ((LOCATION, scene.target), (ARCHIVE, str(archive)), (SPANS, "ARCHIVE_REPO")):
        for answer in WAYS[way](scene, trace, {key: value}):
            if not answer.ok:  # some requests omit such a tag
                assert_refused(answer)
        assert SECRET not in scene.artifact(trace).text
        assert scene.stored("SELECT * FROM trace_tags WHERE value = ?", value) == []


def test_a_trace_identifier_cannot_be_a_path(scene: Scene) -> None:
    for trace in (f"../../{scene.foreign}/traces/tr-foreign", f"..%2f..%2f{scene.foreign}", "..", ".", "a/b", "a\\b"):
        first, _ = by_start(scene, trace, {})
        assert first.status_code == 400, (trace, first.text)
        assert SECRET not in scene.artifact(trace).text
    assert scene.stored("SELECT * FROM trace_info WHERE request_id LIKE '%.%' OR request_id LIKE '%/%'") == []


def test_a_member_cannot_set_the_location_of_an_experiment(scene: Scene) -> None:
    elsewhere = scene.server.log.parent
    places = (
        f"mlflow-artifacts:/{scene.foreign}",
        f"MLFLOW-ARTIFACTS:/{scene.foreign}",
        f"mlflow-artifacts:/{scene.experiment}/../{scene.foreign}",
        f"mlflow-artifacts:/%2e%2e/{scene.foreign}",
        f"mlflow-artifacts://other-host/{scene.foreign}",
        "mlflow-artifacts:/100000",
        f" {elsewhere}",
        f"{elsewhere}",
        f"file://{elsewhere}",
        "s3://bucket/path",
        "http://127.0.0.1:9/api/2.0/mlflow-artifacts/artifacts/1",
        "ftp://127.0.0.1/1",
    )
    for number, place in enumerate(places):
        body = {"name": f"located-{number}", "artifact_location": place}
        made = scene.ask(f"{API}/experiments/create", body)
        assert made.status_code == 400, (place, made.text)
    assert scene.stored("SELECT * FROM experiments WHERE name LIKE 'located-%'") == []
    for body in ({"name": "plain"}, {"name": "empty", "artifact_location": ""}):
        made = scene.ask(f"{API}/experiments/create", body)
        assert made.ok, made.text
        found = scene.ask(f"{API}/experiments/get?experiment_id={made.json()['experiment_id']}").json()["experiment"]
        assert found["artifact_location"] == f"mlflow-artifacts:/{found['experiment_id']}"


def test_a_member_cannot_set_a_foreign_source_of_a_model_version(scene: Scene) -> None:
    begun = scene.ask(f"{API}/runs/create", {"experiment_id": scene.experiment, "start_time": 1})
    run = begun.json()["run"]["info"]
    assert scene.ask(f"{API}/registered-models/create", {"name": "own"}).ok
    places = (
        "s3://bucket/path",
        "S3://bucket/path",
        "dbfs:/path",
        f"file://{scene.server.log.parent}",
        str(scene.server.log.parent),
        "http://127.0.0.1:9/api/2.0/mlflow-artifacts/artifacts/1",
        f"mlflow-artifacts://other-host/{scene.experiment}/{run['run_id']}/artifacts",
        scene.target,
        f"{run['artifact_uri']}/../../../{scene.foreign}",
        f"{run['artifact_uri']}/%2e%2e/%2e%2e/%2e%2e/{scene.foreign}",
        f" {run['artifact_uri']}",
    )
    for place in places:
        for named in ({}, {"run_id": run["run_id"]}):
            made = scene.ask(f"{API}/model-versions/create", {"name": "own", "source": place, **named})
            assert made.status_code == 400, (place, made.text)
    assert scene.stored("SELECT * FROM model_versions WHERE name = 'own'") == []


def test_a_refused_source_reveals_nothing_about_the_servers_files(scene: Scene) -> None:
    folder = scene.server.log.parent.resolve()
    link, target = folder / "a-link", folder / "what-only-the-server-knows"
    link.symlink_to(target)
    run, _ = new_run(scene, scene.member, scene.experiment)
    model, _ = new_logged_model(scene, scene.member, scene.experiment)
    scene.ask(f"{API}/registered-models/create", {"name": "of links"}).raise_for_status()

    def refusal(source: str, named: dict[str, str]) -> str:
        made = scene.ask(f"{API}/model-versions/create", {"name": "of links", "source": source, **named})
        assert made.status_code == 400, (source, made.text)
        return made.text

    ways: tuple[dict[str, str], ...] = ({}, {"run_id": run}, {"model_id": model})
    for named in ways:
        for source in (str(link), f"file://{link}"):
            assert target.name not in refusal(source, named)
    for named in ways:
        for scheme in ("mlflow-artifacts", "runs", "s3"):
            of_link, of_nothing = (refusal(f"{scheme}:{folder}/{name}", named) for name in (link.name, "no-link"))
            assert of_link.replace(link.name, "no-link") == of_nothing
        assert str(folder) not in refusal("dummy-source", named)  # a prompt's placeholder; a relative path for MLflow


def test_a_foreign_location_stored_earlier_is_not_used(scene: Scene) -> None:
    trace, archived, elsewhere = scene.new_trace(), scene.new_trace(), scene.server.log.with_name("elsewhere")
    elsewhere.mkdir(exist_ok=True)
    (elsewhere / "traces.pb").write_text(SECRET)
    assert scene.tags(trace)[LOCATION] == f"mlflow-artifacts:/{scene.experiment}/traces/{trace}/artifacts"
    change = "UPDATE trace_tags SET value = ? WHERE request_id = ? AND key = ?"
    scene.stored(change, scene.target, trace, LOCATION)
    for key, value in ((ARCHIVE, str(elsewhere)), (SPANS, "ARCHIVE_REPO")):
        scene.stored("INSERT INTO trace_tags (request_id, key, value) VALUES (?, ?, ?)", archived, key, value)
    assert_refused(scene.artifact(trace))
    assert_refused(scene.artifact(archived))
    delete = {"experiment_id": scene.experiment, "request_ids": [archived]}
    assert_refused(scene.ask(f"{API}/traces/delete-traces", delete))
    assert (elsewhere / "traces.pb").exists()
    read = scene.server.ask(f"ajax-api/2.0/mlflow/get-trace-artifact?request_id={trace}", ADMIN)
    assert read.text == SECRET  # administrators may still read it


def test_a_source_stored_earlier_is_used_only_inside_its_run(scene: Scene) -> None:
    kept, old = scene.server.log.parent / "artifacts" / scene.foreign, scene.server.log.with_name("old data")
    experiment = scene.ask(f"{API}/experiments/create", {"name": "of old data"}).json()["experiment_id"]
    scene.stored("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", str(old), experiment)
    run = scene.ask(f"{API}/runs/create", {"experiment_id": experiment, "start_time": 1}).json()["run"]["info"]
    folder = Path(run["artifact_uri"])
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "traces.json").write_text("old data")
    read = scene.ask(f"get-artifact?run_id={run['run_id']}&path=model/traces.json")
    assert (read.status_code, read.text) == (200, "old data")
    scene.ask(f"{API}/registered-models/create", {"name": "of old data"}).raise_for_status()
    source = {"name": "of old data", "source": f"runs:/{run['run_id']}/model", "run_id": run["run_id"]}
    scene.ask(f"{API}/model-versions/create", source).raise_for_status()
    by_version = "model-versions/get-artifact?name=of%20old%20data&version=1&path=traces.json"
    elsewhere = (kept / "traces/tr-foreign/artifacts", folder / f"../../../artifacts/{scene.foreign}", old)
    for place, allowed in ((folder / "model", True), *((place, False) for place in elsewhere)):
        change = "UPDATE model_versions SET source = ?, storage_location = ? WHERE name = 'of old data'"
        scene.stored(change, str(place), str(place))
        answer = scene.ask(by_version)
        if allowed:
            assert answer.text == "old data"
        else:
            assert_refused(answer)


def new_logged_model(scene: Scene, login: tuple[str, str], experiment: str, run: str = "") -> tuple[str, str]:
    """Create a logged model; return its identifier and location."""
    named = {"experiment_id": experiment, "name": "logged", **({"source_run_id": run} if run else {})}
    made = scene.server.ask(f"{API}/logged-models", login, named)
    made.raise_for_status()
    info = made.json()["model"]["info"]
    return info["model_id"], info["artifact_uri"]


def new_run(scene: Scene, login: tuple[str, str], experiment: str) -> tuple[str, str]:
    """Create a run; return its identifier and location."""
    made = scene.server.ask(f"{API}/runs/create", login, {"experiment_id": experiment, "start_time": 1})
    made.raise_for_status()
    info = made.json()["run"]["info"]
    return info["run_id"], info["artifact_uri"]


def put_secret(scene: Scene, login: tuple[str, str], location: str) -> None:
    address = location.replace("mlflow-artifacts:/", f"{scene.server.address}/{ARTIFACTS}/")
    requests.put(f"{address}/file.txt", SECRET, auth=login, timeout=60).raise_for_status()


def store_version(scene: Scene, source: str, location: str, run: str | None) -> str:
    """Write a new version of the member's model into the database, as MLflow up to 3.16 did; return its number."""
    columns = "workspace, name, version, source, storage_location, run_id, current_stage, status"
    numbers = "SELECT coalesce(max(version), 0) + 1 FROM model_versions WHERE name = 'stored'"
    values = (source, location, *([] if run is None else [run]))
    what = f"'default', 'stored', ({numbers}), ?, ?, {'NULL' if run is None else '?'}, 'None', 'READY'"
    scene.stored(f"INSERT INTO model_versions ({columns}) VALUES ({what})", *values)
    return str(scene.stored("SELECT max(version) FROM model_versions WHERE name = 'stored'")[0][0])


def test_a_location_stored_earlier_is_used_only_inside_the_versions_run_or_model(scene: Scene) -> None:
    run, in_run = new_run(scene, scene.member, scene.experiment)
    other, in_other = new_run(scene, ADMIN, scene.foreign)
    _, in_model_of_other = new_logged_model(scene, ADMIN, scene.foreign, other)
    own, in_own = new_logged_model(scene, scene.member, scene.experiment)
    of_run, in_model_of_run = new_logged_model(scene, scene.member, scene.experiment, run)
    for location in (in_other, in_model_of_other):
        put_secret(scene, ADMIN, location)
    for location in (in_run, in_own, in_model_of_run):
        put_secret(scene, scene.member, location)
    foreign = f"mlflow-artifacts:/{scene.foreign}"
    scene.ask(f"{API}/registered-models/create", {"name": "stored"}).raise_for_status()
    rest = in_other.removeprefix(f"{foreign}/")

    def get(version: str, path: str, login: tuple[str, str]) -> requests.Response:
        asked = f"model-versions/get-artifact?name=stored&version={version}&path={path}"
        answer: requests.Response = scene.server.ask(asked, login)
        return answer

    refused = {
        "experiment": (foreign, foreign, None, f"{rest}/file.txt"),
        "experiment, with a run": (foreign, foreign, run, f"{rest}/file.txt"),
        "another run": (in_other, in_other, "", "file.txt"),
        "another run, named": (f"runs:/{other}", f"runs:/{other}", run, "file.txt"),
        "another run, alone": (f"runs:/{other}", f"runs:/{other}", "", "file.txt"),
        "copied": ("models:/theirs/1", in_other, "", "file.txt"),
        "copied from a logged model": ("models:/theirs/2", in_model_of_other, "", "file.txt"),
        "another logged model": (f"models:/{own}", in_model_of_other, run, "file.txt"),
        "upwards": (in_run, f"{in_run}/%2e%2e/%2e%2e/%2e%2e/{scene.foreign}/{rest}", run, "file.txt"),
    }
    for case, (source, location, named, path) in refused.items():
        version = store_version(scene, source, location, named)
        for answer in (
            get(version, path, scene.member),
            scene.ask(f"{API}/model-versions/get-download-uri?name=stored&version={version}"),
        ):
            assert answer.status_code == 400, (case, answer.text)
            assert_refused(answer)
        if case.startswith("experiment"):
            assert get(version, path, ADMIN).text == SECRET
    allowed = {
        "run": (in_run, in_run, run),
        "run, by name": (f"runs:/{run}", f"runs:/{run}", run),
        "logged model": (f"models:/{own}", in_own, None),
        "logged model of another run": (f"models:/{of_run}", in_model_of_run, other),
        "from the web page": (in_model_of_run, in_model_of_run, run),
        "copied": ("models:/another/1", in_own, None),
    }
    versions = {case: store_version(scene, *stored) for case, stored in allowed.items()}
    scene.ask(f"{API}/logged-models/{own}", method="DELETE").raise_for_status()
    scene.ask(f"{API}/runs/delete", {"run_id": run}).raise_for_status()
    for case, version in versions.items():
        found = scene.ask(f"{API}/model-versions/get-download-uri?name=stored&version={version}")
        assert found.ok, (case, found.text)
        if case != "run, by name":
            assert get(version, "file.txt", scene.member).text == SECRET, case


def test_an_administrator_can_set_the_location_of_an_experiment(scene: Scene) -> None:
    place = f"mlflow-artifacts:/{scene.foreign}/chosen"
    made = scene.server.change(f"{API}/experiments/create", {"name": "chosen", "artifact_location": place})
    found = scene.server.ask(f"{API}/experiments/get?experiment_id={made['experiment_id']}", ADMIN)
    assert found.json()["experiment"]["artifact_location"] == place


def test_a_researchers_program_still_works(scene: Scene, tmp_path: Path) -> None:
    python = scene.server.python
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "MLFLOW_TRACKING_URI": scene.server.address,
        "MLFLOW_TRACKING_USERNAME": scene.member[0],
        "MLFLOW_TRACKING_PASSWORD": scene.member[1],
    }
    script = str(Path(__file__).with_name("logging_all.py"))
    done = subprocess.run(
        [python, script, "of-a-program"],
        env=env,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.endswith("done\n"), done.stderr
