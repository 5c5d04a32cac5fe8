"""Real servers on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployer.core.spec.versions import DEFAULT_MLFLOW
from tests.local.fault_injection import Serve, fault_injection
from tests.local.minors import install
from tests.support.machine import Machine, watched
from tests.support.made_once import made_once
from tests.support.servers import free_port


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's environment, installed once by `create`; `make mutations` shares it among many runs of pytest."""
    if made := os.environ.get("DEPLOYER_TEST_ENVIRONMENTS"):
        return Path(made)

    def make(home: Path) -> None:
        machine = Machine(home)
        with watched([machine]):
            machine.create("builder", "--port", str(free_port()))
            machine.run("delete", "builder", "--delete-data", "--yes")

    return Machine(made_once(tmp_path_factory, "environments", make)).state / "environments"


@pytest.fixture(scope="session")
def python_of(environments: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Returns the Python of an environment with the given version of MLflow; each environment is installed once."""
    made = {DEFAULT_MLFLOW: str(next(environments.glob("mlflow-*/bin/python")))}

    def python(version: str) -> str:
        if version not in made:
            folder = made_once(tmp_path_factory, f"mlflow-{version}", lambda folder: install(version, folder / "venv"))
            made[version] = str(folder / "venv/bin/python")
        return made[version]

    return python


@pytest.fixture
def new_machine(tmp_path: Path, environments: Path) -> Iterator[Callable[[], Machine]]:
    """Makes users whose state directory contains only the environment."""
    made: list[Machine] = []

    def make() -> Machine:
        home = tmp_path / f"home{len(made)}"
        home.mkdir()
        machine = Machine(home)
        machine.share(environments)
        made.append(machine)
        return machine

    with watched(made):
        yield make


@pytest.fixture
def machine(new_machine: Callable[[], Machine]) -> Machine:
    """One user."""
    return new_machine()


@pytest.fixture(scope="module")
def module_machines(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> Iterator[Callable[[], Machine]]:
    """Makes the users of `shared_machine`."""
    made: list[Machine] = []

    def make() -> Machine:
        machine = Machine(tmp_path_factory.mktemp("shared"))
        machine.share(environments)
        made.append(machine)
        return machine

    with watched(made):
        yield make


@pytest.fixture(scope="module")
def current_machine(module_machines: Callable[[], Machine]) -> list[Machine]:
    """The users of `shared_machine` so far; the last one is the current user."""
    return [module_machines()]


@pytest.fixture
def shared_machine(
    request: pytest.FixtureRequest, module_machines: Callable[[], Machine], current_machine: list[Machine]
) -> Iterator[Machine]:
    """One user for all tests of a module, for tests that leave a server that `create` accepts.

    After a failed test the next test gets a new user, so that one failure does not cause another.
    """
    failed = request.session.testsfailed
    yield current_machine[-1]
    if request.session.testsfailed > failed:
        current_machine[-1].end()
        current_machine.append(module_machines())


@pytest.fixture
def serve(machine: Machine, tmp_path: Path) -> Serve:
    """Runs a server with a fault, see serve_with_fault.py, and yields its address."""
    return fault_injection(machine.server_python(), tmp_path)


@pytest.fixture
def bare_machine(tmp_path: Path) -> Iterator[Machine]:
    """A user with an empty state directory, without an environment."""
    home = tmp_path / "bare"
    home.mkdir()
    machine = Machine(home)
    with watched([machine]):
        yield machine


HOSTILE_USER = "a b%c@d"
HOSTILE_PASSWORD = "p%w$(x) \"q'`\\; #:=&{{x}}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> Iterator[Machine]:
    """One running server for a module, with the most awkward valid administrator's name, password and folder."""
    machine = Machine(tmp_path_factory.mktemp("server") / "a $(b) & c")
    machine.home.mkdir()
    machine.share(environments)
    (machine.home / "password").write_text(HOSTILE_PASSWORD)
    machine.create("mlflow", "--username", HOSTILE_USER, "--password-file", "password")
    with watched([machine]):
        yield machine
