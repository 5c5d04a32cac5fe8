"""The servers of the speed comparison, each with separate databases, in one virtual environment."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import requests

from bench.processes import Failed, free_port, text_of
from deployer.catalogue import PLUGINS
from deployer.core.stack import sizing

API: Final = "api/2.0/mlflow"
START_SECONDS: Final = 300
SAMPLE_SECONDS: Final = 0.2
REST_SECONDS: Final = 0.5
LONGEST_REST_SECONDS: Final = 120.0
IDLE: Final = 0.1  # fraction of a processor
BASIC_AUTH: Final = ("--app-name", "basic-auth")
NGINX: Final = "/usr/sbin/nginx"


@dataclass(frozen=True)
class Kind:
    """How a contender is started: options of `mlflow server`, or None for launch.py."""

    options: tuple[str, ...] | None
    cache_seconds: int = 0
    lean: bool = True  # with our connection pools and without job runners


KINDS: Final[Mapping[str, Kind]] = {
    "open": Kind(()),
    "vanilla": Kind(BASIC_AUTH),
    "cache": Kind(BASIC_AUTH, cache_seconds=300),
    "ours": Kind(None),
    "default": Kind(BASIC_AUTH, lean=False),
}


@dataclass
class Contender:
    """A running server with an administrator, a member who may edit one experiment, and a run in it."""

    name: str
    address: str
    process: subprocess.Popen[bytes]
    logins: dict[str, tuple[str, str] | None]
    run: str = ""
    experiment: str = ""
    peak_mebibytes: float = field(default=0.0)

    def fill(self) -> None:
        """Create the experiment, the run and the member for the requests."""
        admin = self.logins["admin"]
        self.experiment = self._post("experiments/create", {"name": "bench"}, admin)["experiment_id"]
        body = {"experiment_id": self.experiment, "start_time": 1}
        self.run = self._post("runs/create", body, admin)["run"]["info"]["run_id"]
        for number in range(20):  # results for experiments/search
            self._post("experiments/create", {"name": f"bench {number}"}, admin)
        if member := self.logins["member"]:
            self._post("users/create", {"username": member[0], "password": member[1]}, admin)
            grant = {"username": member[0], "resource_type": "experiment", "resource_id": self.experiment}
            self._post("users/permissions/grant", {**grant, "permission": "EDIT"}, admin, "3.0")

    def _post(self, path: str, body: object, login: tuple[str, str] | None, version: str = "2.0") -> Any:
        url = f"{self.address}/api/{version}/mlflow/{path}"
        with requests.Session() as session:
            session.trust_env = False
            answer = session.post(url, json=body, auth=login, timeout=120)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def mebibytes(self) -> float:
        """Return the proportional set size of the server's processes."""
        total = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ProcessLookupError):
                if os.getpgid(int(folder.name)) == self.process.pid:
                    rollup = (folder / "smaps_rollup").read_text("ascii")
                    total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return total / 1024

    def rest(self) -> None:
        """Wait until the server has finished the remaining work of a load, which would slow down the next load."""
        before = self._ticks()
        for _ in range(round(LONGEST_REST_SECONDS / REST_SECONDS)):
            time.sleep(REST_SECONDS)  # not measured
            after = self._ticks()
            if after - before <= IDLE * REST_SECONDS * os.sysconf("SC_CLK_TCK"):
                return
            before = after

    def _ticks(self) -> int:
        """Return the CPU time of the server's processes (proc_pid_stat(5), utime and stime)."""
        total = 0
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ProcessLookupError):
                if os.getpgid(int(folder.name)) == self.process.pid:
                    fields = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
                    total += int(fields[11]) + int(fields[12])
        return total

    @contextmanager
    def weighed(self) -> Iterator[None]:
        """Record the server's peak memory while the block runs."""
        over = threading.Event()

        def weigh() -> None:
            while not over.wait(SAMPLE_SECONDS):
                self.peak_mebibytes = max(self.peak_mebibytes, self.mebibytes())

        thread = threading.Thread(target=weigh)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@contextmanager
def served(
    python: str, name: str, folder: Path, workers: int, databases: Mapping[str, str] | None
) -> Iterator[Contender]:
    """Run one contender with the PostgreSQL URLs in `databases`, or with SQLite files in `folder` if it is None."""
    kind = KINDS[name]
    folder.mkdir()
    databases = databases or {store: f"sqlite:///{folder}/{store}.db" for store in ("tracking", "auth")}
    password, port = secrets.token_urlsafe(24), free_port()
    (folder / "basic_auth.ini").write_text(
        f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = {databases['auth']}\n"
        f"auth_cache_ttl_seconds = {kind.cache_seconds}\n"
    )
    env = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "MLFLOW_BACKEND_STORE_URI": databases["tracking"],
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(24),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_PORT": str(port),
        "MLFLOW_WORKERS": str(workers),
    }
    if kind.lean:
        shared = name == "ours" and databases["tracking"].startswith("postgres")  # others keep their threads
        threads = sizing.threads(workers, shared=shared)
        pool = sizing.pool(threads)
        env |= {
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": str(pool.size),
            "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": str(pool.overflow),
            "DEPLOYER_THREADS": str(threads),  # only `ours` reads this variable and the next
            "DEPLOYER_AUTH_CONNECTIONS": str(sizing.AUTH_CONNECTIONS),
        }
    else:
        del env["MLFLOW_WORKERS"]
    command = [python, str(PLUGINS / "launch.py")]
    if kind.options is not None:
        command = [python, "-m", "mlflow", "server", *kind.options]
    opened = name == "open"
    logins = {
        "admin": None if opened else ("admin", password),
        "member": None if opened else ("member", password[::-1]),
    }
    with started(command, env, folder, f"http://127.0.0.1:{port}/health") as process:
        made = Contender(name, f"http://127.0.0.1:{port}", process, logins)
        _until_it_works(made, folder)
        yield made


def _until_it_works(made: Contender, folder: Path) -> None:
    """Wait until the stores work; `/health` responds earlier."""
    for attempt in range(60):
        try:
            made.fill()
            return
        except requests.RequestException as error:
            if attempt == 59:
                raise Failed(f"{made.name} does not work: {error}", text_of(folder / "log")) from error
            time.sleep(1)  # not measured


@contextmanager
def behind_nginx(opened: Contender, folder: Path) -> Iterator[Contender]:
    """Run Debian's nginx with a password file in front of a server without logins."""
    folder.mkdir()
    password, port = secrets.token_urlsafe(24), free_port()
    hashed = subprocess.run(
        ["openssl", "passwd", "-apr1", "-stdin"], input=password, capture_output=True, text=True, check=True
    ).stdout.strip()
    (folder / "users").write_text(f"admin:{hashed}\n")
    (folder / "nginx.conf").write_text(
        f"""daemon off; user root; worker_processes auto; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream mlflow {{ server {opened.address.removeprefix("http://")}; keepalive 64; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port};
    auth_basic mlflow; auth_basic_user_file {folder}/users;
    location / {{
      proxy_pass http://mlflow; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $http_host; proxy_set_header Authorization ""; proxy_read_timeout 300s;
    }}
  }}
}}
"""
    )
    command, health = [NGINX, "-c", str(folder / "nginx.conf")], f"http://127.0.0.1:{port}/health"
    with started(command, {"PATH": "/usr/bin:/bin"}, folder, health, ("admin", password)) as process:
        logins = dict.fromkeys(("admin", "member"), ("admin", password))
        made = Contender("nginx", f"http://127.0.0.1:{port}", process, dict(logins))
        made.run, made.experiment = opened.run, opened.experiment
        yield made


@contextmanager
def started(
    command: list[str], env: Mapping[str, str], folder: Path, url: str, login: tuple[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a new process group until the block ends; yield once it responds."""
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(
            command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
        stack.callback(_end, process)
        limit = time.monotonic() + START_SECONDS
        while True:
            with suppress(requests.RequestException):
                if requests.get(url, auth=login, timeout=60).status_code == 200:
                    break
            if process.poll() is not None or time.monotonic() > limit:
                raise Failed(f"{command[-1]} does not answer", text_of(folder / "log"))
            time.sleep(0.1)  # not measured
        yield process


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
