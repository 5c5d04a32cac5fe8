"""A server in the foreground, as a batch system, systemd or a person at a terminal runs it."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
import requests

from deployer.catalogue import PROGRAMS
from tests.local.foreground import running
from tests.support.machine import Machine
from tests.support.servers import free_port

CURRENT = "api/2.0/mlflow/users/current"


def test_run_proves_the_server_prints_its_address_and_stops_it_at_sigterm(machine: Machine) -> None:
    port = free_port()
    with running(machine, "--port", str(port)) as run:
        printed = run.until_up()
        status = machine.json("status")
        assert (status["state"], status["proven"]) == ("ready", True)
        assert f"Address   http://127.0.0.1:{port}" in printed
        assert "show-password mlflow" in printed
        assert f"ssh -N -L {port}:127.0.0.1:{port} " in printed
        assert f"@{socket.gethostname()}" in printed
        assert machine.password() not in printed
        assert run.end(signal.SIGTERM) == 0
    assert "Application startup complete" in run.errors  # a line of the server's log
    assert "Server 'mlflow' is stopped." in run.errors
    assert machine.password() not in run.errors
    assert machine.processes() == []
    assert machine.remains() == []
    assert machine.json("status", code=3)["state"] == "stopped"


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.full_scale)]
)
def test_a_signal_during_the_start_leaves_nothing_running(machine: Machine, number: signal.Signals) -> None:
    process = machine.popen("run")
    assert process.stderr is not None
    for line in process.stderr:
        if "ready ..." in line:
            break
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert machine.processes() == []
    assert machine.remains() == []


def test_run_ends_when_the_server_dies_and_prints_the_end_of_its_log(machine: Machine) -> None:
    with running(machine) as run:
        run.until_up()
        os.kill(machine.pid(), signal.SIGKILL)
        assert run.ended() == 3
    assert "Not ready: the server has ended by itself: process" in run.errors
    assert (
        run.errors.count("Application startup complete") == 2
    )  # once as it was written, once in the final lines of the log
    assert "the same command starts it again" in run.errors
    assert machine.processes() == []


def test_a_killed_run_leaves_the_server_to_the_next_run(machine: Machine) -> None:
    with running(machine, "--port", str(free_port())) as first:
        first.until_up()
        pid = machine.pid()
        first.process.kill()
        first.ended()
    assert machine.json("status")["state"] == "ready"
    with running(machine) as second:
        assert "is running and verified" in second.until_up()
        assert machine.pid() == pid
        refused = machine.run("run", code=5).stderr
        assert "is in the foreground already" in refused
        # `run` follows what other commands do to the server
        machine.run("create", "mlflow", "--default-permission", "READ")
        assert machine.pid() != pid
        assert second.process.poll() is None
        machine.run("stop")
        assert second.ended() == 0
    assert "was started anew by another deployer" in second.errors
    assert "is stopped, by another deployer" in second.errors
    assert machine.processes() == []
    assert machine.remains() == []


def test_a_server_on_all_addresses_answers_only_to_its_name(machine: Machine) -> None:
    node, port = socket.gethostname(), free_port()
    with running(machine, "--host", "0.0.0.0", "--port", str(port)) as run:
        printed = run.until_up()
        assert f"Address   http://{node}:{port}" in printed
        assert f"ssh -N -L {port}:{node}:{port} " in printed
        assert "@LOGIN-NODE" in printed
        assert f"MLFLOW_TRACKING_URI=http://{node}:{port}" in machine.run("env").stdout
        # another loopback address: a server at 127.0.0.1 would not answer
        for host, status in ((f"{node}:{port}", 401), ("evil.example.org", 403)):
            answer = requests.get(f"http://127.0.0.2:{port}/{CURRENT}", headers={"Host": host}, timeout=10)
            assert answer.status_code == status
        search = f"http://127.0.0.2:{port}/ajax-api/2.0/mlflow/experiments/search"
        for origin, status in ((f"http://{node}:{port}", 200), ("http://evil.example.org", 403)):
            answer = requests.post(
                search,
                json={"max_results": 1},
                headers={"Host": f"{node}:{port}", "Origin": origin},
                auth=("admin", machine.password()),
                timeout=10,
            )
            assert answer.status_code == status
        assert run.end(signal.SIGINT) == 0
        assert run.errors.count("is plain HTTP") == 1


def test_an_ipv6_address_works(machine: Machine) -> None:
    created = machine.create("mlflow", "--host", "::1", "--port", str(free_port()))
    assert created["address"].startswith("http://[::1]:")
    assert machine.json("status")["proven"] is True


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("192.0.2.199", "no address of this machine"),
        ("no-such-node.invalid", "it has no address"),
        ("http://node", "--host http://node: must be a host name or an IP address"),
    ],
)
def test_a_host_other_than_this_machine_is_refused_before_anything_is_created(
    machine: Machine, host: str, words: str
) -> None:
    assert words in machine.here("create", "--target", "local", "--host", host, code=2).stderr
    assert machine.json("list") == []


def test_a_taken_port_is_named_with_the_address(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = machine.run("run", "--host", "0.0.0.0", "--port", str(port), code=5).stderr
    assert f"port {port} of 0.0.0.0 cannot be used" in refused


def test_run_refuses_a_cluster(machine: Machine) -> None:
    assert "keeps a server of this machine" in machine.run("run", "--target", "kubernetes", code=2).stderr


def test_a_server_does_not_start_after_the_end_of_its_starter(tmp_path: Path) -> None:
    """The starter looked for processes to end and found none; the child must not continue after that."""
    record = tmp_path / "process.json"
    register = [sys.executable, "-I", "-S", str(PROGRAMS / "register.py")]
    command = [*register, str(record), "print", "--", "/bin/sleep", "60"]
    reads, writes = os.pipe()
    os.close(reads)
    actions = [(os.POSIX_SPAWN_DUP2, writes, 4)]
    pid = os.posix_spawn(command[0], command, {"LISTEN_FDS": "1"}, file_actions=actions)
    os.close(writes)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 75
    assert not record.exists()
