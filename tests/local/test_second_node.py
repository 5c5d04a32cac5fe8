"""Two login nodes that share `$HOME`: commands on the second say where the server runs, and never start it again.

The second node is this kernel with another host name, boot id and process numbers, which distinguish machines.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.local.foreground import running
from tests.support.machine import Machine, watched
from tests.support.servers import free_port

pytestmark = pytest.mark.skipif(shutil.which("unshare") is None, reason="needs util-linux")

BECOME = """
hostname login2
uuid=$(mktemp)
cat /proc/sys/kernel/random/uuid > "$uuid"
mount --bind "$uuid" /proc/sys/kernel/random/boot_id
rm "$uuid"
if [ -n "$UNLOCKED" ]; then mount --bind "$UNLOCKED" "$RECORD"; fi
exec "$@"
"""


@dataclass
class Node(Machine):
    """Another node of the same user. `unlocked`: the file system does not share locks between nodes."""

    unlocked: bool = False

    def command(self, *arguments: str) -> list[str]:
        spaces = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
        if os.geteuid():
            spaces += ["--user", "--map-root-user"]
        record, copy = self.state / "servers/mlflow/process.json", self.home / "process.copy"
        given = ["RECORD=", "UNLOCKED="]
        if self.unlocked:
            shutil.copy2(record, copy)
            given = [f"RECORD={record}", f"UNLOCKED={copy}"]
        return [*spaces, "env", *given, "sh", "-ec", BECOME, "node", *super().command(*arguments)]


def second_node(machine: Machine, *, unlocked: bool = False) -> Node:
    return Node(machine.home, machine.uid, witness=machine.witness, unlocked=unlocked)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> Iterator[Machine]:
    """A user with a server on the first node; tests with this fixture change nothing."""
    home = tmp_path_factory.mktemp("shared")
    machine = Machine(home)
    machine.share(environments)
    with watched([machine]):
        machine.create()
        yield machine


STAYS = {
    "create": (("create",), 5),
    "create with changes": (("create", "mlflow", "--default-permission", "READ"), 5),
    "create at another address": (("create", "mlflow", "--host", "127.0.0.2"), 5),
    "create --take-over": (("create", "--take-over"), 5),
    "run": (("run",), 5),
    "start": (("start",), 5),
    "stop": (("stop",), 5),
    "stop --take-over": (("stop", "--take-over"), 5),
    "delete": (("delete",), 5),
    "delete --delete-data": (("delete", "--delete-data", "--yes"), 5),
    "diff": (("diff",), 5),
    "env": (("env",), 5),
    "verify": (("verify",), 5),
    "status": (("status",), 3),
    "list": (("list",), 0),
    "logs": (("logs",), 0),
    "show-password": (("show-password",), 0),
    "login": (("login",), 5),
    "rotate-password": (("rotate-password",), 5),
    "share --user": (("share", "--user", "anna"), 5),
    "create --dry-run": (("create", "--dry-run"), 5),
    "start --dry-run": (("start", "--dry-run"), 5),
    "stop --dry-run": (("stop", "--dry-run"), 5),
    "delete --dry-run": (("delete", "--dry-run"), 5),
    "rotate-password --dry-run": (("rotate-password", "--dry-run"), 5),
}


@pytest.mark.parametrize(("command", "code"), STAYS.values(), ids=STAYS)
def test_each_command_says_where_the_server_runs_and_changes_nothing(
    shared: Machine, command: tuple[str, ...], code: int
) -> None:
    before = (shared.record(), shared.pid(), shared.processes())
    done = second_node(shared).run(*command, code=code)
    port = shared.record()["assigned"]["ports"]["http"]
    said = done.stdout + done.stderr
    assert f"it runs on {os.uname().nodename} since 20" in said
    assert f"ssh -N -L {port}:127.0.0.1:{port} " in said
    assert "MLFLOW_TRACKING_URI=http" not in done.stdout  # on the second node, another program may use that port
    assert (shared.record(), shared.pid(), shared.processes()) == before


@pytest.mark.parametrize("command", ["create", "run", "start", "stop"])
def test_the_record_suffices_without_shared_locks(shared: Machine, command: str) -> None:
    before = (shared.record(), shared.pid(), shared.processes())
    refused = second_node(shared, unlocked=True).run(command, code=5).stderr
    assert f"it was started on {os.uname().nodename} on 20" in refused
    assert "`deployer stop mlflow --take-over`" in refused
    assert (shared.record(), shared.pid(), shared.processes()) == before


def test_a_colleague_is_sent_to_the_node_where_the_server_runs(shared: Machine) -> None:
    port = shared.record()["assigned"]["ports"]["http"]
    told = second_node(shared).run("share").stdout
    assert f"ssh -N -L {port}:127.0.0.1:{port} {os.uname().nodename}\n" in told


def test_commands_on_the_second_node_do_not_disturb_the_first_node(shared: Machine) -> None:
    second_node(shared).run("create", code=5)
    assert shared.json("create")["changed"] is False


def test_a_server_on_the_network_is_used_and_proven_from_the_second_node(machine: Machine) -> None:
    address = machine.create("mlflow", "--host", "0.0.0.0")["address"]
    node = second_node(machine)
    assert f"MLFLOW_TRACKING_URI={address}" in node.run("env").stdout
    verified = node.run("verify", "-o", "json")
    assert json.loads(verified.stdout)["ok"] is True
    assert "is on another machine" in verified.stderr
    assert f"its address is {address}" in node.run("create", code=5).stderr
    assert f"{address} accepts" in node.run("login").stderr
    assert "knows no user 'anna'" in node.run("share", "--user", "anna", code=1).stderr
    old = machine.password()
    node.run("rotate-password")
    assert machine.password() != old
    machine.run("verify")
    refused = node.run("rotate-password", "--recover", code=5).stderr
    assert f"type the same command on {os.uname().nodename}" in refused
    # the server answers, so it still runs, even without a lock
    refused = second_node(machine, unlocked=True).run("stop", "--take-over", code=5).stderr
    assert "and answers there" in refused


def test_the_server_of_a_lost_node_is_taken_over_on_request(machine: Machine) -> None:
    machine.create("mlflow", "--port", str(free_port()))  # a port that no other test uses meanwhile
    os.kill(machine.pid(), signal.SIGKILL)
    while machine.processes():  # until the kernel has ended the process
        pass
    node = second_node(machine)
    refused = node.run("run", code=5).stderr
    assert f"it was started on {os.uname().nodename} on 20" in refused
    assert "`deployer stop mlflow --take-over`" in refused
    with running(node, "--take-over") as run:
        assert "@login2" in run.until_up()
        seen = machine.json("status", code=3)
        assert seen["state"] == "elsewhere"
        assert "it runs on login2 since" in seen["detail"]
        assert "it runs on login2 since" in machine.run("create", code=5).stderr
        os.kill(run.child(), signal.SIGTERM)
        assert run.ended() == 0
    assert machine.json("status", code=3)["state"] == "stopped"  # so either node may start it
