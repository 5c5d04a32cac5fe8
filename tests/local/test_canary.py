"""The witness finds a planted canary in every output and file of a machine, and names the place."""

from __future__ import annotations

import base64
import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.support.machine import SECRETS, Machine
from tests.support.witness import Witness

# contains base64 letters and other characters, so that all encoded forms differ
CANARY = f"{secrets.token_urlsafe(18)}/+=&{secrets.token_urlsafe(6)}"
SERVER = "servers/mlflow"


@pytest.fixture
def planted(tmp_path: Path) -> Iterator[Machine]:
    """A machine with one secret; its witness does not report to the session."""
    machine = Machine(tmp_path, witness=Witness())
    (machine.state / SERVER).mkdir(parents=True)
    stored = {"admin": {"username": "administrator", "current": CANARY}, "server": {"short": "abc"}}
    (machine.state / SERVER / SECRETS).write_text(json.dumps(stored))
    machine.states.add(machine.state)
    yield machine
    machine.end()


def into(path: str) -> Callable[[Machine], None]:
    def plant(machine: Machine) -> None:
        file = machine.state / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 100_000 + CANARY.encode() + b"\n" * 100_000)

    return plant


def record(machine: Machine) -> None:
    login = base64.b64encode(f"admin:{CANARY}".encode()).decode()
    (machine.state / SERVER / "record.json").write_text(json.dumps({"spec": {"header": f"Basic {login}"}}))


def refused(machine: Machine) -> None:
    machine.run(CANARY, code=2)


def refused_by_show_password(machine: Machine) -> None:
    machine.run("show-password", "mlflow", CANARY, code=2)


def read_line_by_line(machine: Machine) -> None:
    process = machine.program(["sh", "-c", f"echo first; echo http://host/?p={quote(CANARY, safe='')} >&2"])
    assert process.stdout
    assert process.stderr
    assert len([*process.stdout, *process.stderr]) == 2
    process.communicate()


def in_a_script(machine: Machine) -> None:
    machine.shell(f"$DEPLOYER --version; echo '{CANARY}'")


def killed(machine: Machine) -> None:
    process = machine.program(["sh", "-c", f"echo '{CANARY}'; exec sleep 600"])
    assert process.stdout
    process.stdout.readline()
    process.kill()
    process.communicate()


def removed_by_delete(machine: Machine) -> None:
    into(f"{SERVER}/server.log")(machine)
    machine.run("delete", "mlflow", "--target", "local", code=None)
    (machine.state / SERVER / "server.log").unlink(missing_ok=True)


PLACES: dict[str, Callable[[Machine], None]] = {
    "server.log": into(f"{SERVER}/server.log"),
    "server.log.1": into(f"{SERVER}/server.log.1"),
    "record.json": record,
    "process.json": into(f"{SERVER}/process.json"),
    "tracking.db": into(f"{SERVER}/data/tracking.db"),
    "basic_auth.ini": into(f"{SERVER}/files/basic_auth.ini"),
    ".draft-killed": into(f"{SERVER}/.draft-killed"),
    ".mlflow.lock": into("servers/.mlflow.lock"),
    "made.log": into("environments/made.log"),
    "(stderr)": refused,
    "`deployer show-password": refused_by_show_password,
    "(stderr), URL-escaped": read_line_by_line,
    "(stdout), raw": in_a_script,
    "(stdout)": killed,
    f"{SERVER}/server.log": removed_by_delete,
}


@pytest.mark.parametrize("place", PLACES)
def test_a_canary_is_found_in_each_place(planted: Machine, place: str) -> None:
    planted.look()
    assert planted.witness.findings() == []
    PLACES[place](planted)
    planted.look()
    (found,) = map(str, planted.witness.findings())
    assert place in found
    assert found.startswith("admin/current of mlflow is in ")
    assert CANARY not in found


def test_a_canary_in_a_command_line_is_found(planted: Machine) -> None:
    with subprocess.Popen(["sh", "-c", "sleep 600; :", CANARY], env=planted.env) as process:
        try:
            while CANARY not in Path(f"/proc/{process.pid}/cmdline").read_text():
                os.sched_yield()
            planted.look()
        finally:
            planted.end()
    assert [f"the command line of process {process.pid}" in str(found) for found in planted.witness.findings()] == [
        True
    ]


def test_requested_secrets_are_no_findings(planted: Machine) -> None:
    """A password may appear in the output of `show-password`, in the file of secrets, and in the draft of that file."""
    draft = planted.state / SERVER / ".draft-killed"
    draft.write_bytes((planted.state / SERVER / SECRETS).read_bytes())
    planted.shell("true")
    process = planted.program(["echo", CANARY], ("show-password",))
    assert CANARY in process.communicate()[0]
    planted.look()
    assert planted.witness.findings() == []
    assert set(planted.witness.secrets) == {CANARY}


def test_findings_of_a_machine_are_also_findings_of_the_session(planted: Machine) -> None:
    above = Witness()
    planted.witness = Witness(above)
    in_a_script(planted)
    assert len(above.findings()) == 1
    assert above.figures() == planted.witness.figures()
