"""Options and fixtures of every suite."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

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


def pytest_itemcollected(item: pytest.Item) -> None:
    # one process for all that shares the machine's ports, one for all that shares the cluster
    groups = {"local": "machine", "soak": "machine", "cluster": "cluster"}
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    if folder in groups:
        item.add_marker(pytest.mark.xdist_group(groups[folder]))


def pytest_configure() -> None:
    # a shell starts what it runs in the background with SIGINT ignored, and every child would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
