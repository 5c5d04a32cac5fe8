"""Real servers on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local.machine import Machine


@pytest.fixture(scope="session")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's environment, made once by the real command."""
    machine = Machine(tmp_path_factory.mktemp("environments"))
    try:
        machine.create("builder")
        machine.run("delete", "builder", "--delete-data", "--yes")
    finally:
        machine.end()
    return machine.state / "environments"


@pytest.fixture
def new_machine(tmp_path: Path, environments: Path) -> Iterator[Callable[[], Machine]]:
    """Makes users with an empty state directory, but for the environment."""
    made: list[Machine] = []

    def make() -> Machine:
        home = tmp_path / f"home{len(made)}"
        home.mkdir()
        machine = Machine(home)
        machine.share(environments)
        made.append(machine)
        return machine

    yield make
    for machine in made:
        machine.end()


@pytest.fixture
def machine(new_machine: Callable[[], Machine]) -> Machine:
    """One user."""
    return new_machine()


@pytest.fixture
def bare_machine(tmp_path: Path) -> Iterator[Machine]:
    """A user with nothing at all, not even an environment."""
    home = tmp_path / "bare"
    home.mkdir()
    machine = Machine(home)
    yield machine
    machine.end()
