"""Attacks by files of other users in shared folders, and by slow searches of members."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.local.minors import ADMIN, CASES, Server, served
from tests.support.machine import Machine

OTHER_USER = 65534
DAYS_SECONDS = 3 * 24 * 3600
V3 = "api/3.0/mlflow"
# CPU time doubles with each letter; this length takes a few seconds in the server
SLOW, HARD_TO_MATCH = "^(a+)+$", "a" * 27 + "!"
PREPARE = """
mkdir "$1/mlflow-assistant-sessions"
ln -s "$2" "$1/mlflow-assistant-sessions/sandbox-home"
exec 9< "$1/db_init_lock-$3"
flock --exclusive 9
echo held
exec sleep 600
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user too")


@dataclass(frozen=True)
class Neighbourhood:
    """A temporary folder that all users share, and a folder of the server's owner that another user wants to empty."""

    shared: Path
    projects: Path

    def untouched(self) -> bool:
        return (self.projects / "old" / "thesis.txt").read_text() == "years of work"


@contextmanager
def neighbourhood(home: Path, database: Path) -> Iterator[Neighbourhood]:
    """Create both; another user places a link to the owner's folder, and a held lock, where MLflow puts files."""
    projects = home / "projects"
    (projects / "old").mkdir(parents=True)
    (projects / "old" / "thesis.txt").write_text("years of work")
    long_ago = time.time() - DAYS_SECONDS
    os.utime(projects / "old", (long_ago, long_ago))
    with ExitStack() as stack:
        # outside of the test's folder, which only its owner can enter
        shared = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mlflow-deployer-shared-")))
        shared.chmod(0o1777)
        digest = hashlib.md5(f"sqlite:///{database}".encode(), usedforsecurity=False).hexdigest()
        (shared / f"db_init_lock-{digest}").touch(0o644)  # an earlier run of the owner has created the file
        neighbour = subprocess.Popen(
            ["sh", "-ec", PREPARE, "neighbour", str(shared), str(projects), digest],
            user=OTHER_USER, group=OTHER_USER, extra_groups=[], stdout=subprocess.PIPE, cwd="/",
        )  # fmt: skip
        with neighbour:
            try:
                assert neighbour.stdout is not None
                assert neighbour.stdout.readline() == b"held\n"
                yield Neighbourhood(shared, projects)
            finally:
                neighbour.kill()


@dataclass(frozen=True)
class Scene:
    """A server, and a member with an experiment."""

    server: Server
    login: tuple[str, str]
    experiment: str

    def trace(self, number: int, **tags: str) -> str:
        """Store a trace and return its id."""
        where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": self.experiment}}
        info = {"trace_id": f"tr-{number:032x}", "trace_location": where, "state": "OK", "tags": tags}
        body = {"trace": {"trace_info": {**info, "request_time": "2026-01-01T00:00:00Z"}}}
        self.server.ask(f"{V3}/traces", self.login, body).raise_for_status()
        return str(info["trace_id"])

    def search(self, text: str, login: tuple[str, str] | None = None) -> requests.Response:
        """Search the traces of the experiment."""
        where = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": self.experiment}}
        body: dict[str, Any] = {"locations": [where], "filter": text, "max_results": 100}
        address = f"{self.server.address}/{V3}/traces/search"
        return requests.post(address, json=body, auth=login or self.login, timeout=300)

    def found(self, text: str, login: tuple[str, str] | None = None) -> set[str]:
        answer = self.search(text, login)
        answer.raise_for_status()
        return {trace["trace_id"] for trace in answer.json().get("traces", ())}


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def scene(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    with served(request.param, python_of(request.param.version), tmp_path_factory.mktemp("searched")) as server:
        login = server.member("mia")
        made = server.ask("api/2.0/mlflow/experiments/create", login, {"name": "of mia"})
        yield Scene(server, login, made.json()["experiment_id"])


def test_a_slow_regular_expression_ends_and_others_are_served_meanwhile(scene: Scene) -> None:
    scene.trace(1, evil=HARD_TO_MATCH)
    served_meanwhile = 0
    with ThreadPoolExecutor(1) as pool:
        searched: Future[requests.Response] = pool.submit(scene.search, f"tags.evil RLIKE '{SLOW}'")
        while not searched.done():
            requests.get(f"{scene.server.address}/health", timeout=300).raise_for_status()
            served_meanwhile += not searched.done()
    assert (searched.result().status_code, searched.result().json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "RLIKE: the regular expression needs more than" in searched.result().json()["message"]
    assert served_meanwhile >= 3
    assert scene.found("tags.evil RLIKE '^(a+)!$'") == {"tr-" + f"{1:032x}"}


def test_slow_expressions_take_only_some_of_the_threads(scene: Scene) -> None:
    scene.trace(1, evil=HARD_TO_MATCH)
    with ThreadPoolExecutor(20) as pool:
        statuses = [answer.status_code for answer in pool.map(scene.search, [f"tags.evil RLIKE '{SLOW}'"] * 20)]
    assert set(statuses) == {400, 429}
    assert scene.found("tags.evil RLIKE '^a'")


EXPRESSIONS = {
    "snow": {"plain", "lines"},
    "^snow": {"plain"},
    "snow.*ball$": {"plain"},
    "(?m)^snow": {"plain", "lines"},
    "^(?!snow)": {"lines", "digits", "twice"},
    r"(wor|tw)d?ice": {"twice"},
    r"(\w+) \1": {"twice"},
    r"^\d+$": {"digits"},
    "(?i)SNOWBALL": {"plain"},
    "(": set(),
    "nothing of all": set(),
}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_regular_expressions_have_the_same_meaning_as_in_python(scene: Scene, expression: str) -> None:
    """MLflow documents this for RLIKE on SQLite, where an invalid expression matches nothing."""
    texts = {"plain": "snow and a snowball", "lines": "rain\nsnow", "digits": "٣4", "twice": "twice twice"}
    ids = {scene.trace(2 + number, words=text): name for number, (name, text) in enumerate(texts.items())}
    for login in (scene.login, ADMIN):
        found = scene.found(f"tags.words RLIKE '{expression}'", login)
        assert {ids[trace] for trace in found} == EXPRESSIONS[expression]


def test_the_length_of_a_filter_is_limited_above_the_needs_of_clients(scene: Scene) -> None:
    def status(text: str) -> int:
        body = {"experiment_ids": [scene.experiment], "filter": text}
        return scene.server.ask("api/2.0/mlflow/runs/search", scene.login, body).status_code

    named = ", ".join(f"'{number:032x}'" for number in range(3000))
    assert status(f"attributes.run_id IN ({named})") == 200
    assert status(f"tags.words = '{'x' * 250_000}'") == 200
    assert status(f"tags.words = '{'x' * 300_000}'") == 400


@as_root
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.version)
def test_a_server_follows_no_link_and_waits_for_no_lock_of_another_user(
    case: Any, python_of: Callable[[str], str], tmp_path: Path
) -> None:
    """The server is started without deployer, with a temporary folder that all users share."""
    with (
        neighbourhood(tmp_path, tmp_path / "tracking.db") as around,
        served(case, python_of(case.version), tmp_path, {"TMPDIR": str(around.shared)}) as server,
    ):
        assert around.untouched()
        assert requests.post(f"{server.address}/ajax-api/3.0/jobs/search", json={}, auth=ADMIN, timeout=60).ok


@as_root
def test_a_server_of_deployer_has_a_private_temporary_folder(machine: Machine) -> None:
    """TMPDIR of the command has no effect; the end of the server removes the content of the folder."""
    own = machine.state / "servers" / "mlflow" / "tmp"
    with neighbourhood(machine.home, machine.state / "servers/mlflow/data/tracking.db") as around:
        shared = {"TMPDIR": str(around.shared)}
        machine.run("create", "mlflow", "--target", "local", env=shared)
        assert temporary_folder(machine) == str(own)
        assert (own.stat().st_mode & 0o777, own.stat().st_uid) == (0o700, os.geteuid())
        (own / "left").mkdir()
        machine.run("stop", env=shared)
        assert not own.exists()
        own.symlink_to(around.projects)
        machine.run("start", env=shared)
        assert not own.is_symlink()
        assert temporary_folder(machine) == str(own)
        assert around.untouched()
        assert {path.name.partition("-")[0] for path in around.shared.iterdir()} == {"mlflow", "db_init_lock"}


@as_root
def test_no_file_of_another_user_in_the_working_directory_is_executed(machine: Machine) -> None:
    """For a release that is not installed, deployer runs pip, which Python could import from the working directory."""
    taken = machine.home / "taken"
    with tempfile.TemporaryDirectory(prefix="mlflow-deployer-shared-") as name:
        shared = Path(name)
        shared.chmod(0o1777)
        script = f"printf 'open(\"{taken}\", \"w\")' > {shared}/pip.py; echo 'not TOML' > {shared}/uv.toml"
        subprocess.run(["sh", "-ec", script], user=OTHER_USER, group=OTHER_USER, extra_groups=[], check=True, cwd="/")
        refused = machine.run("create", "other", "--target", "local", "--mlflow-version", "3.17.99", code=1, cwd=shared)
    assert not taken.exists()
    assert "has no release 3.17.99 of mlflow" in refused.stderr


def temporary_folder(machine: Machine) -> str:
    variables = Path(f"/proc/{machine.pid()}/environ").read_text().split("\0")
    return next(text.partition("=")[2] for text in variables if text.startswith("TMPDIR="))
