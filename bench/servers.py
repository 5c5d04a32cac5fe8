"""Starts the contenders: `deployer create`, and `mlflow server` from the same virtual environment."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

from bench import processes
from bench.processes import Failed

NAME: Final = "bench"
POLL_SECONDS: Final = 0.05
START_SECONDS: Final = 300.0
BUILD_SECONDS: Final = 1200.0
DELETE_SECONDS: Final = 90.0
CURRENT_USER: Final = "/api/2.0/mlflow/users/current"
_JOB_STORAGE: Final = "_MLFLOW_HUEY_STORAGE_PATH"  # a folder in /dev/shm that mlflow server makes
_NOT_INHERITED: Final = ("MLFLOW_", "_MLFLOW_", "LISTEN_", "PYTHON", "XDG_STATE_HOME")


@dataclass(frozen=True)
class Variant:
    """A way to call `mlflow server`."""

    options: tuple[str, ...]
    env: Mapping[str, str]


VARIANTS: Final[Mapping[str, Variant]] = {
    "default": Variant((), {}),
    "lean": Variant(("--workers", "1"), {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}),
}


@dataclass(frozen=True)
class Started:
    """The duration of a start, and the memory and processes afterwards."""

    seconds: float
    mebibytes: float
    processes: int


class Bench:
    """Runs the contenders in a folder; each start has a new state, all starts share one virtual environment."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._temporary = scratch / "tmp"
        self._temporary.mkdir()
        self._environments = scratch / "build" / "mlflow-deployer" / "environments"
        self._deployer = Path(sys.executable).with_name("deployer")
        self._count = 0

    def build(self) -> str:
        """Create the shared environment with one `deployer create`; return its MLflow version."""
        state = self._scratch / "build"
        state.mkdir()
        with self._created(state, BUILD_SECONDS) as (_, answer):
            return str(answer["mlflowVersion"])

    def warm_up(self) -> None:
        """Start every variant of `mlflow server` once without measuring it; `build` has already started ours."""
        for name in VARIANTS:
            with self._served(VARIANTS[name]):
                pass

    def ours(self) -> Started:
        """Create, measure and delete a server of ours."""
        folder = self._new_folder()
        state = folder / "mlflow-deployer"
        state.mkdir(mode=0o700)
        (state / "environments").symlink_to(self._environments)
        with self._created(folder, START_SECONDS) as (seconds, _):
            return Started(seconds, *processes.memory_at_rest())

    def theirs(self, variant: str) -> Started:
        """Start, measure and end a `mlflow server`."""
        with self._served(VARIANTS[variant]) as seconds:
            return Started(seconds, *processes.memory_at_rest())

    @contextmanager
    def _created(self, state: Path, seconds: float) -> Iterator[tuple[float, dict[str, Any]]]:
        """Yield the duration of `deployer create` in seconds and its JSON; then delete the server."""
        env = self._environment() | {"XDG_STATE_HOME": str(state)}
        log, answer = state / "create.log", state / "create.json"
        create = [str(self._deployer), "create", NAME, "--target", "local", "--port", str(processes.free_port())]
        create += ["--output", "json", "--timeout", str(seconds)]
        delete = [str(self._deployer), "delete", NAME, "--target", "local", "--delete-data", "--yes"]
        try:
            took = processes.run(create, env=env, log=log, out=answer, cwd=state, seconds=seconds + 10)
            yield took, _proven(answer, log)
        except BaseException as error:
            if isinstance(error, Failed):  # read the log before `delete` removes it
                error.log += processes.text_of(state / "mlflow-deployer" / "servers" / NAME / "server.log")
            with suppress(Failed):
                processes.run(delete, env=env, log=log, cwd=state, seconds=DELETE_SECONDS)
            raise
        else:
            processes.run(delete, env=env, log=log, cwd=state, seconds=DELETE_SECONDS)
        finally:
            processes.sweep()

    @contextmanager
    def _served(self, variant: Variant) -> Iterator[float]:
        """Yield the seconds from the spawn of `mlflow server` to its first authenticated response; then end it."""
        folder = self._new_folder()
        port, password = processes.free_port(), secrets.token_urlsafe(24)
        env = self._environment() | _settings(folder, password) | dict(variant.env)
        command = [str(self._mlflow()), "server", "--app-name", "basic-auth", "--port", str(port), *variant.options]
        log, leftovers = folder / "server.log", set[str]()
        begun = time.perf_counter()
        try:
            with processes.running(command, env=env, log=log, cwd=folder) as process:
                try:
                    _await_answer(process, f"http://127.0.0.1:{port}{CURRENT_USER}", ("admin", password), log)
                    yield time.perf_counter() - begun
                finally:
                    leftovers = processes.settings_of(_JOB_STORAGE)
        finally:
            processes.sweep()
            for leftover in leftovers:
                shutil.rmtree(leftover, ignore_errors=True)

    def _mlflow(self) -> Path:
        found = list(self._environments.glob("*/bin/mlflow"))
        if len(found) != 1:
            raise Failed(f"there should be one mlflow below {self._environments}, there are {len(found)}")
        return found[0]

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        return kept | {"TMPDIR": str(self._temporary)}

    def _new_folder(self) -> Path:
        self._count += 1
        folder = self._scratch / f"start-{self._count}"
        folder.mkdir(mode=0o700)
        return folder


def _settings(folder: Path, password: str) -> dict[str, str]:
    """Return the environment of `mlflow server` with an empty SQLite and basic auth; no secret is an argument."""
    ini = folder / "basic_auth.ini"
    ini.write_text(f"[mlflow]\ndefault_permission = READ\ndatabase_uri = sqlite:///{folder}/auth.db\n", "utf-8")
    return {
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/tracking.db",
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_AUTH_CONFIG_PATH": str(ini),
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(32),
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def _await_answer(process: subprocess.Popen[bytes], url: str, login: tuple[str, str], log: Path) -> None:
    """Wait for the first 200."""
    limit = time.monotonic() + START_SECONDS
    with requests.Session() as session:
        session.trust_env = False
        session.auth = login
        while True:
            try:
                answer = session.get(url, timeout=60)
                if answer.status_code == 200:
                    return
                state = f"answers {answer.status_code}"
            except requests.RequestException as error:
                state = f"does not answer: {type(error).__name__}"
            if process.poll() is not None:
                raise Failed(f"mlflow server ended with {process.returncode}", processes.text_of(log))
            if time.monotonic() > limit:
                raise Failed(f"mlflow server {state} after {START_SECONDS:.0f} s", processes.text_of(log))
            time.sleep(POLL_SECONDS)  # until it responds, ends or times out


def _proven(answer: Path, log: Path) -> dict[str, Any]:
    """Return the JSON of `deployer create`; fail unless all checks of the proof passed."""
    try:
        document: dict[str, Any] = json.loads(answer.read_text("utf-8"))
        checks = document["verified"]
        proven = bool(checks) and all(check["ok"] for check in checks) and document["changed"]
    except (ValueError, LookupError, TypeError):
        proven = False
    if not proven:
        raise Failed("deployer create ended with 0 without a proven new server", processes.text_of(answer, log))
    return document
