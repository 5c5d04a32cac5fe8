"""SIGKILL at seeded random instants, then the same command again: it completes, with one server and no remains."""

from __future__ import annotations

import random
import socket
import time
from contextlib import suppress

import pytest

from tests.support.killing import instants, kill_in_step, kills_of, measure
from tests.support.machine import Machine

CREATE = ("create", "--target", "local")
DELETE = ("delete", "--delete-data", "--yes")
INSTALLATION_SECONDS = 10  # or longer


def require_one_proven_server(machine: Machine) -> None:
    machine.run(*CREATE)
    assert machine.json("status")["proven"] is True
    assert len(machine.processes()) == 1
    assert machine.remains() == []
    machine.here("verify")


def require_nothing(machine: Machine, port: int | None) -> None:
    machine.here(*DELETE, code=None)
    assert machine.processes() == []
    assert machine.remains() == []
    with suppress(FileNotFoundError):
        assert list((machine.state / "servers").iterdir()) == []
    if port:
        socket.create_server(("127.0.0.1", port)).close()


def port_of(machine: Machine) -> int | None:
    try:
        return int(machine.record()["assigned"]["ports"]["http"])
    except (FileNotFoundError, KeyError):
        return None


@pytest.mark.timeout(3600)
def test_a_create_killed_at_any_instant_continues(machine: Machine, seed: int, soak: bool) -> None:
    measured = measure(machine, CREATE)
    assert {"record", "credentials", "address", "start", "ready", "verify"} <= set(measured[1])
    require_nothing(machine, port_of(machine))
    for kill in kills_of(seed, "create", CREATE, measured, soak=soak):
        kill(machine)
        require_one_proven_server(machine)
        require_nothing(machine, port_of(machine))


@pytest.mark.full_scale
@pytest.mark.timeout(3600)
def test_a_create_killed_while_it_installs_mlflow_continues(bare_machine: Machine, seed: int, soak: bool) -> None:
    machine, chance = bare_machine, random.Random(f"{seed} environment")
    for _ in range(4 if soak else 1):
        kill_in_step(machine, CREATE, "environment", chance, INSTALLATION_SECONDS)
        require_one_proven_server(machine)
        require_nothing(machine, port_of(machine))
        for made in (machine.state / "environments").iterdir():
            made.rename(machine.home / f"away-{time.monotonic_ns()}")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "command",
    [pytest.param(DELETE, id="with data"), pytest.param(("delete",), id="keeping data", marks=pytest.mark.full_scale)],
)
def test_a_delete_killed_at_any_instant_continues(
    machine: Machine, seed: int, soak: bool, command: tuple[str, ...]
) -> None:
    machine.create()
    port = port_of(machine)
    measured = measure(machine, command)
    assert "remove" in measured[1]
    for kill in kills_of(seed, f"delete {command}", command, measured, soak=soak):
        machine.create()
        password = machine.password()
        kill(machine)
        again = machine.run(*command, code=None)
        assert again.returncode == 0 or "no server" in again.stderr, again.stderr
        assert machine.processes() == []
        assert machine.remains() == []
        if command == ("delete",):
            assert machine.json("list")[0]["state"] == "deleted"
            assert machine.password() == password
    require_nothing(machine, port)


def test_the_seed_decides_the_instants(seed: int) -> None:
    assert instants(seed, "create", 6, 1.0) == instants(seed, "create", 6, 1.0)
    assert instants(seed, "create", 6, 1.0) != instants(seed + 1, "create", 6, 1.0)
