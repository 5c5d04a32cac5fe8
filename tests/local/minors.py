"""Servers of known and unknown versions of MLflow: environments without deployer, and requests of the tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from deployer.catalogue import CONSTRAINTS, PLUGINS
from deployer.core.spec.versions import DEFAULT_MLFLOW, constraints_file
from tests.support import snapshots
from tests.support.machine import DEPLOYER
from tests.support.servers import PASSWORD, free_port, running, settings

ADMIN = ("admin", PASSWORD)
SIGNING_KEY = "a-key-that-a-user-has-set"


@dataclass(frozen=True)
class Case:
    """A version of MLflow, the number of workers, and the warning of the server at its start (None: no warning)."""

    version: str
    workers: int
    said: str | None


# one of each supported minor version
CASES = (
    Case(DEFAULT_MLFLOW, 1, None),
    Case("3.18.0", 1, None),
)


@dataclass(frozen=True)
class Server:
    """A running server."""

    case: Case
    address: str
    log: Path
    python: str

    def ask(self, path: str, login: tuple[str, str] | None, body: Any = None, method: str | None = None) -> Any:
        """Send a request on a new connection."""
        method = method or ("GET" if body is None else "POST")
        return requests.request(method, f"{self.address}/{path}", auth=login, json=body, timeout=60)

    def statuses(self, path: str, login: tuple[str, str]) -> set[int]:
        """Return the statuses of simultaneous requests: 2 with one worker, 12 with several, to reach every worker."""
        count = 2 if self.case.workers == 1 else 12
        with ThreadPoolExecutor(4) as pool:
            return set(pool.map(lambda _: self.ask(path, login).status_code, range(count)))

    def change(self, path: str, body: Any, method: str = "POST") -> Any:
        """Change something as the admin."""
        answer = self.ask(path, ADMIN, body, method)
        answer.raise_for_status()
        return answer.json() if answer.text else None

    def member(self, name: str) -> tuple[str, str]:
        """Create a member."""
        login = (name, f"the-password-of-{name}")
        self.change("api/2.0/mlflow/users/create", {"username": login[0], "password": login[1]})
        return login

    def experiment(self, name: str) -> str:
        """Create an experiment as the admin."""
        return str(self.change("api/2.0/mlflow/experiments/create", {"name": name})["experiment_id"])


def install(version: str, folder: Path) -> None:
    """Create an environment with this version of MLflow."""
    uv, python = str(DEPLOYER.with_name("uv")), str(folder / "bin" / "python")
    subprocess.run([uv, "venv", "--quiet", str(folder)], check=True, timeout=60)
    add = [uv, "pip", "install", "--quiet", "--python", python, "boto3>=1.36,<2"]
    if subprocess.run([*add, f"mlflow[auth]=={version}"], check=False, timeout=600).returncode:
        # some package indexes lack the mlflow-skinny of this release; the wheel of mlflow contains all of MLflow
        tested = ["--constraint", str(CONSTRAINTS / constraints_file(version))]
        uploads = "python-multipart"  # MLflow 3.18 parses uploads of skills with this package
        subprocess.run([*add, f"mlflow[auth]=={DEFAULT_MLFLOW}", uploads, *tested], check=True, timeout=600)
        subprocess.run([*add, "--no-deps", f"mlflow=={version}"], check=True, timeout=600)


@contextmanager
def served(case: Case, python: str, folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a server until the block ends, with `more` in its environment."""
    port = free_port()
    env = settings(folder, port)
    with Path(env["MLFLOW_AUTH_CONFIG_PATH"]).open("a") as ini:  # MLflow 3.16 reads the administrator from this file
        ini.write(f"admin_username = {ADMIN[0]}\nadmin_password = {ADMIN[1]}\n")
        ini.write("auth_cache_ttl_seconds = 600\n")  # changes must hold at once despite this setting
    env |= {"_MLFLOW_ASSISTANT_DELEGATION_SIGNING_KEY": SIGNING_KEY, "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN": SIGNING_KEY}
    env |= {"MLFLOW_WORKERS": str(case.workers), "DEPLOYER_ACCESS_LOG": "true", "PYTHONUNBUFFERED": "1"}
    env |= more or {}
    if fresh := not (folder / "tracking.db").exists():
        snapshots.copy(python, folder)
    with running([python, str(PLUGINS / "launch.py")], env, port, path="health/stores") as address:
        if fresh:
            snapshots.keep(python, folder)
        yield Server(case, address, folder / "server.log", python)
