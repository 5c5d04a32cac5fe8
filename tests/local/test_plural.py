"""A server of several programs on this machine: started in order, stopped in reverse, repaired after any kill.

The server needs a cache, and the cache needs a store: plural_deployer.py adds both to each server.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.local.foreground import running
from tests.support.machine import Machine, kill_group, watched
from tests.support.servers import free_port

DEPLOYER = Path(__file__).with_name("plural_deployer.py")
CREATE = ("create", "--target", "local")
WORKLOADS = ("store", "cache", "server")
SECONDS = 120  # seconds for steps that take a second


@dataclass
class PluralMachine(Machine):
    """A user whose servers have three workloads."""

    def command(self, *arguments: str) -> list[str]:
        return self.inside([sys.executable, str(DEPLOYER), *arguments])

    @property
    def server(self) -> Path:
        return self.state / "servers" / "mlflow"

    def folder(self, workload: str) -> Path:
        return self.server if workload == "server" else self.server / f"mlflow-{workload}"

    def log(self, workload: str) -> str:
        path = self.folder(workload) / f"{workload}.log"
        return path.read_text() if path.exists() else ""

    def pid_of(self, workload: str) -> int:
        return int(json.loads((self.folder(workload) / "process.json").read_text())["pid"])

    def recorded(self) -> list[str]:
        return [workload for workload in WORKLOADS if (self.folder(workload) / "process.json").exists()]

    def pids(self) -> set[int]:
        return {self.pid_of(workload) for workload in WORKLOADS}

    def hold(self, what: str) -> Path:
        path = self.home / what
        path.touch()
        return path

    def ports(self) -> None:
        ports = {name: free_port() for name in ("store", "cache")}
        (self.home / "ports").write_text(json.dumps(ports))

    def until(self, workload: str, line: str) -> None:
        """Wait until a workload has written a line to its log."""
        until = time.monotonic() + SECONDS
        while line not in self.log(workload):
            assert time.monotonic() < until, f"{workload} never said {line!r}: {self.log(workload)}"
            time.sleep(0.02)


@pytest.fixture
def machine(tmp_path: Path, environments: Path) -> Iterator[PluralMachine]:
    home = tmp_path / "home"
    home.mkdir()
    machine = PluralMachine(home)
    machine.share(environments)
    machine.ports()
    with watched([machine]):
        yield machine


def require_whole(machine: PluralMachine) -> None:
    """Check that each workload runs exactly once, and that the server is proven."""
    assert machine.json("status")["proven"] is True
    assert set(machine.processes()) == machine.pids()
    assert len(machine.pids()) == 3
    assert machine.remains() == []


def ended(pid: int) -> None:
    """Wait until a process has ended: it does not exist, or is a zombie without a command line."""
    until = time.monotonic() + SECONDS
    with suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{pid}/cmdline").read_bytes():
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.mark.timeout(1800)
def test_workloads_start_after_their_dependencies_and_stop_in_reverse(machine: PluralMachine) -> None:
    held = {name: machine.hold(f"hold-{name}") for name in ("store", "cache")}
    creating = machine.popen(*CREATE)
    machine.until("store", "not ready")  # its probe was called and failed
    assert machine.recorded() == ["store"]
    held["store"].unlink()
    machine.until("cache", "not ready")
    assert machine.recorded() == ["store", "cache"]
    held["cache"].unlink()
    machine.ended(creating, 0)
    require_whole(machine)
    assert "what it needs has answered" in machine.log("cache")
    assert machine.json("create")["changed"] is False

    machine.run("stop")
    assert machine.processes() == []
    assert machine.log("cache").splitlines()[-1] == (
        "asked to end beside mlflow-cache/process.json mlflow-store/process.json"
    )
    assert machine.log("store").splitlines()[-1] == "asked to end beside mlflow-store/process.json"
    assert machine.json("status", code=3)["state"] == "stopped"

    machine.run("start")
    require_whole(machine)
    machine.run("delete")
    assert machine.processes() == []
    assert {path.name for path in machine.server.iterdir()} == {"data", "volumes", "record.json", "secrets.json"}
    assert (machine.server / "volumes/cached/store").read_text() == "started\n" * 2
    machine.run("delete", "--delete-data", "--yes")
    assert list((machine.state / "servers").iterdir()) == []


@pytest.mark.timeout(1800)
def test_each_workload_has_a_log_and_an_unknown_workload_is_refused(machine: PluralMachine) -> None:
    machine.run(*CREATE)
    assert "store has started" in machine.run("logs", "--workload", "store").stdout.splitlines()
    assert "cache has started" in machine.run("logs", "--workload", "cache").stdout.splitlines()
    of_server = machine.run("logs").stdout
    assert of_server == machine.run("logs", "--workload", "server").stdout
    assert of_server
    assert "has started" not in of_server
    refused = machine.run("logs", "--workload", "queue", code=2).stderr
    assert "server 'mlflow' has no workload 'queue'; it has server, cache, store" in refused

    # a new port of the cache changes the settings: all workloads restart once
    before, old = machine.pids(), json.loads((machine.home / "ports").read_text())
    (machine.home / "ports").write_text(json.dumps({**old, "cache": free_port()}))
    assert machine.json("create")["changed"] is True
    require_whole(machine)
    assert before.isdisjoint(machine.pids())


@pytest.mark.timeout(1800)
def test_a_killed_workload_is_named_and_the_same_command_starts_it_again(machine: PluralMachine) -> None:
    machine.run(*CREATE)
    for workload in WORKLOADS:
        pid = machine.pid_of(workload)
        os.kill(pid, signal.SIGKILL)
        ended(pid)
        seen = machine.json("status", code=3)
        assert seen["state"] == "crashed"
        assert f"workload '{workload}' does not run: process {pid} has ended" in seen["detail"]
        assert machine.json(*CREATE)["changed"] is True
        require_whole(machine)


@pytest.mark.timeout(1800)
def test_a_create_killed_between_two_workloads_continues_or_is_undone(machine: PluralMachine) -> None:
    for workload, started in (("store", ["store"]), ("cache", ["store", "cache"])):
        held = machine.hold(f"hold-{workload}")
        for command in (("stop",), ("delete", "--delete-data", "--yes"), CREATE):
            (machine.folder(workload) / f"{workload}.log").unlink(missing_ok=True)
            creating = machine.popen(*CREATE)
            machine.until(workload, "not ready")
            kill_group(creating)
            assert machine.recorded() == started
            assert set(machine.processes()) == {machine.pid_of(name) for name in started}
            seen = machine.json("status", code=3)
            assert seen["state"] == "crashed"
            assert re.search(r"workload '(server|cache)' does not run: never started", seen["detail"])
            if command != CREATE:
                machine.run(*command)
                assert machine.processes() == []
                assert machine.recorded() == []
        held.unlink()
        machine.run(*CREATE)
        require_whole(machine)
        machine.run("delete", "--delete-data", "--yes")
        assert list((machine.state / "servers").iterdir()) == []


@pytest.mark.timeout(1800)
def test_a_stop_killed_between_two_workloads_continues(machine: PluralMachine) -> None:
    machine.run(*CREATE)
    stays = machine.hold("stay-cache")
    stopping = machine.popen("stop")
    machine.until("cache", "asked to end")
    kill_group(stopping)
    assert machine.recorded() == ["store", "cache"]
    cache = machine.pid_of("cache")
    stays.unlink()
    ended(cache)
    assert machine.json("status", code=3)["state"] == "crashed"
    machine.run("stop")
    assert machine.processes() == []
    assert machine.recorded() == []


@pytest.mark.timeout(1800)
def test_a_workload_ending_at_its_start_is_named_with_its_last_output(machine: PluralMachine) -> None:
    broken = machine.hold("broken-cache")
    refused = machine.run(*CREATE, "--timeout", "120", code=3).stderr
    assert "workload 'cache' has ended by itself\n  the file of the test says that it is broken" in refused
    assert "`deployer logs mlflow --workload cache --target local`" in refused
    assert machine.recorded() == ["store", "cache"]
    broken.unlink()
    machine.run(*CREATE)
    require_whole(machine)


@pytest.mark.timeout(1800)
def test_a_port_in_use_is_reported_before_anything_is_created(machine: PluralMachine) -> None:
    port = json.loads((machine.home / "ports").read_text())["cache"]
    with socket.create_server(("127.0.0.1", port)):
        refused = machine.run(*CREATE, code=5).stderr
    assert f"workload 'cache' of server 'mlflow' needs port {port} of 127.0.0.1, and process {os.getpid()} " in refused
    assert machine.processes() == []
    assert not machine.server.exists()


@pytest.mark.timeout(1800)
def test_a_foreground_server_ends_with_any_of_its_workloads(machine: PluralMachine) -> None:
    with running(machine) as foreground:
        foreground.until_up()
        os.kill(machine.pid_of("cache"), signal.SIGKILL)
        assert foreground.ended() == 3
    assert "workload 'cache' does not run" in foreground.errors
    assert machine.processes() == []
