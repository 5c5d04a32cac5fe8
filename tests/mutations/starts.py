"""Run with every break: the broken product still starts a server. Else a break would say nothing about its promise."""

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
    """A user of this machine. What the server shows is not judged here: a leak may be what is broken."""
    machine = Machine(tmp_path / "home")
    machine.home.mkdir()
    machine.share(Path(os.environ[ENVIRONMENTS]))
    try:
        yield machine
    finally:
        machine.end()


def test_a_server_starts(user: Machine) -> None:
    port = free_port()  # of those that no other test chooses
    options = ("--target", "local", "--port", str(port))
    user.run("create", "mlflow", *options, code=None)  # the proof itself may be what is broken
    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=60).text == "OK"
