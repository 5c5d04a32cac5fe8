"""Options and fixtures of every suite."""

from __future__ import annotations

import signal
import subprocess
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from deployer.core.versions import DEFAULT_MLFLOW
from tests.local.machine import DEPLOYER


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=20261121, help="seed of everything that happens at random instants")
    parser.addoption("--soak", action="store_true", help="full scale")


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--seed"))


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session")
def client_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of a researcher: plain mlflow in an environment that deployer has never seen."""
    folder = tmp_path_factory.mktemp("client") / "venv"
    uv = str(DEPLOYER.with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", str(folder)], check=True, timeout=60)
    python = str(folder / "bin" / "python")
    packages = [f"mlflow=={DEFAULT_MLFLOW}", "scikit-learn"]
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, *packages], check=True, timeout=600)
    return python


class _OneProcessEach(LoadScopeScheduling):
    """One process for all that shares the machine's ports, one for all that shares the cluster; the rest anywhere."""

    def _split_scope(self, nodeid: str) -> str:
        folder = nodeid.split("/")[1]
        return {"local": "machine", "soak": "machine", "cluster": "cluster"}.get(folder, nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return _OneProcessEach(config, log)


def pytest_configure() -> None:
    # a shell starts what it runs in the background with SIGINT ignored, and every child would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
