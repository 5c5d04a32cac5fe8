"""Runs with every break: the broken product must still start a server. Else it proves nothing about a promise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.mutations.workshop import ENVIRONMENTS
from tests.support.machine import Machine
from tests.support.servers import free_port


@pytest.fixture
def user(tmp_path: Path) -> Iterator[Machine]:
    """Yield a user of this machine, without a search for leaks: the break itself may cause a leak."""
    machine = Machine(tmp_path / "home")
    machine.home.mkdir()
    machine.share(Path(os.environ[ENVIRONMENTS]))
    try:
        yield machine
    finally:
        machine.end()


def test_a_server_starts(user: Machine) -> None:
    port = free_port()  # no other test chooses the same port
    options = ("--target", "local", "--port", str(port))
    user.run("create", "mlflow", *options, code=None)  # the break itself may make the proof fail
    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=60).text == "OK"
