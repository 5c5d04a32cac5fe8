"""Options and fixtures of every suite."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from typing import Any

import pytest

from deployer.core.versions import DEFAULT_MLFLOW
from tests.support import hypothesis_profiles
from tests.support.cluster_build import ClusterBuild
from tests.support.machine import DEPLOYER
from tests.support.reports import (  # noqa: F401  # hooks and a fixture: pytest finds them here
    no_secret_is_shown,
    pytest_runtest_makereport,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)
from tests.support.scheduling import LongScopesFirst

pytest_plugins = ["tests.support.durations"]
hypothesis_profiles.register()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=20261121, help="seed of everything that happens at random instants")
    parser.addoption("--soak", action="store_true", help="full scale")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave further examples to the soak."""
    if not config.getoption("--soak"):
        further = [item for item in items if item.get_closest_marker("full_scale")]
        config.hook.pytest_deselected(items=further)
        items[:] = [item for item in items if item not in further]


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--seed"))


@pytest.fixture(scope="session")
def soak(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--soak"))


@pytest.fixture(scope="session")
def client_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of a researcher: plain mlflow in an environment that deployer has never seen.

    The processes of pytest-xdist share one environment: the first process that needs it makes it.
    """
    run = tmp_path_factory.getbasetemp()
    folder = (run.parent if "PYTEST_XDIST_WORKER" in os.environ else run) / "client"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            uv = str(DEPLOYER.with_name("uv"))
            subprocess.run([uv, "venv", "--quiet", "--clear", str(folder)], check=True, timeout=60)
            packages = [f"mlflow=={DEFAULT_MLFLOW}", "scikit-learn"]
            python = ["--python", str(folder / "bin" / "python")]
            subprocess.run([uv, "pip", "install", "--quiet", *python, *packages], check=True, timeout=600)
            (folder / "complete").touch()
    return str(folder / "bin" / "python")


_BUILD = pytest.StashKey[ClusterBuild]()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongScopesFirst:
    def build_cluster() -> ClusterBuild:
        config.stash[_BUILD] = ClusterBuild()
        return config.stash[_BUILD]

    return LongScopesFirst(config, log, build_cluster)


def pytest_unconfigure(config: pytest.Config) -> None:
    if build := config.stash.get(_BUILD, None):
        build.end()


def pytest_configure() -> None:
    # a shell starts what it runs in the background with SIGINT ignored, and every child would inherit that
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it likewise
