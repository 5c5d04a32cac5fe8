"""Rotation of passwords on a running server: proven, continued after each kill, without refusing valid passwords."""

from __future__ import annotations

import json
import secrets
import socket
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import requests

from deployer.core.address import url
from tests.support.killing import go_on, kills_of, measure, stopped_after
from tests.support.load import API, Load, rotate_under_load
from tests.support.machine import Machine, kill_group

ROTATE = ("rotate-password",)
MEMBER = "anna@uni.example"
ROTATE_MEMBER = ("rotate-password", "--user", MEMBER)
HER_OWN = "a-password-of-her-own"


@pytest.fixture
def machine(shared_machine: Machine) -> Machine:
    """The user of all tests of this file. Each test begins with `create`, and leaves a proven server."""
    return shared_machine


def users_api(machine: Machine) -> str:
    return f"{url(None, machine.record()['assigned']['ports']['http'])}/{API}/users"


def status(machine: Machine, password: str, user: str = "admin") -> int:
    current = f"{users_api(machine)}/current"
    while (answer := requests.get(current, auth=(user, password), timeout=30)).status_code == 429:
        time.sleep(int(answer.headers["Retry-After"]))
    return answer.status_code


def member_password(machine: Machine, member: str) -> str:
    return machine.here("show-password", "--user", member).stdout.removesuffix("\n")


def add_member(machine: Machine, name: str, password: str = HER_OWN) -> None:
    body = {"username": name, "password": password}
    made = requests.post(f"{users_api(machine)}/create", json=body, auth=("admin", machine.password()), timeout=30)
    made.raise_for_status()


@pytest.fixture
def member(machine: Machine) -> str:
    """A new member of the server, with a password that the member has chosen."""
    machine.create()
    name = f"m{secrets.token_hex(4)}@uni.example"
    add_member(machine, name)
    return name


def rotation(user: str) -> tuple[str, ...]:
    return ROTATE if user == "admin" else (*ROTATE, "--user", user)


def secrets_file(machine: Machine) -> Path:
    return machine.state / "servers/mlflow/secrets.json"


def edit(machine: Machine, **values: str) -> None:
    """Change stored passwords by hand."""
    path = secrets_file(machine)
    document = json.loads(path.read_text())
    document["admin"] |= values
    path.write_text(json.dumps(document))


def test_a_new_password_is_proven_and_the_server_is_not_restarted(machine: Machine) -> None:
    address = machine.create()["address"]
    old, pid = machine.password(), machine.pid()
    done = machine.json(*ROTATE)
    new = machine.password()
    assert new != old
    assert [check["ok"] for check in done["verified"]] == [True] * 4
    assert done["verified"][-1]["check"] == "old password refused"
    assert (status(machine, new), status(machine, old)) == (200, 401)
    assert requests.get(f"{address}/{API}/users/current", timeout=30).status_code == 401
    assert machine.pid() == pid
    assert machine.create()["changed"] is False
    assert machine.run("diff").returncode == 0
    assert "pending" not in json.loads(secrets_file(machine).read_text())["admin"]


def test_a_chosen_password_is_used_and_outlives_stop_start_and_delete(machine: Machine, tmp_path: Path) -> None:
    machine.create()
    (tmp_path / "password").write_text("chosen by a person\n")
    machine.here(*ROTATE, "--password-file", str(tmp_path / "password"))
    machine.run("stop")
    assert "deployer start mlflow" in machine.here(*ROTATE, code=3).stderr
    for command in (("start",), ("delete",), ("create", "--target", "local")):
        machine.run(*command)
    assert machine.password() == "chosen by a person"
    assert status(machine, "chosen by a person") == 200
    (tmp_path / "password").write_text("short")
    assert "at least 12" in machine.here(*ROTATE, "--password-file", str(tmp_path / "password"), code=2).stderr
    assert status(machine, "chosen by a person") == 200


def test_the_administrator_sets_and_stores_the_password_of_a_member(machine: Machine, member: str) -> None:
    assert "no password of" in machine.here("show-password", "--user", member, code=1).stderr
    assert "no user 'bertil'" in machine.here(*ROTATE, "--user", "bertil", code=1).stderr
    assert "':'" in machine.here(*ROTATE, "--user", "a:b", code=2).stderr
    machine.here(*ROTATE, "--user", member)
    first = member_password(machine, member)
    assert (status(machine, first, member), status(machine, HER_OWN, member)) == (200, 401)
    admin = machine.password()
    machine.here(*ROTATE, "--user", member)
    assert (status(machine, first, member), status(machine, member_password(machine, member), member)) == (401, 200)
    assert machine.password() == admin
    assert machine.create()["changed"] is False


def test_a_password_changed_elsewhere_is_reported_and_recovered_only_on_request(machine: Machine) -> None:
    machine.create()
    admin = ("admin", machine.password())
    body = {"username": "admin", "password": "changed-on-the-page", "current_password": admin[1]}
    requests.patch(f"{users_api(machine)}/update-password", json=body, auth=admin, timeout=30).raise_for_status()
    before = secrets_file(machine).read_bytes()
    assert "--recover" in machine.here(*ROTATE, code=5).stderr
    assert secrets_file(machine).read_bytes() == before
    machine.here(*ROTATE, "--recover")
    assert (status(machine, machine.password()), status(machine, "changed-on-the-page")) == (200, 401)
    assert machine.create()["changed"] is False
    machine.here("verify")


def test_a_deleted_administrator_account_is_recreated(machine: Machine) -> None:
    machine.create()
    admin = ("admin", machine.password())
    for path, method, body in (
        ("create", "POST", {"username": "other", "password": "another-long-one"}),
        ("update-admin", "PATCH", {"username": "other", "is_admin": True}),
    ):
        asked = requests.request(method, f"{users_api(machine)}/{path}", json=body, auth=admin, timeout=30)
        asked.raise_for_status()
    other, body = ("other", "another-long-one"), {"username": "admin"}
    requests.delete(f"{users_api(machine)}/delete", json=body, auth=other, timeout=30).raise_for_status()
    assert status(machine, admin[1]) == 401
    machine.here(*ROTATE, "--recover")
    assert status(machine, machine.password()) == 200
    machine.here("verify")


def test_a_nonexistent_server_is_named(machine: Machine) -> None:
    assert "no server" in machine.here(*ROTATE, "nowhere", "--target", "local", code=1).stderr


def test_a_server_without_a_bucket_has_no_keys_to_rotate(machine: Machine) -> None:
    machine.create()
    assert "keeps its artifacts on its volume" in machine.run("rotate-keys", "s3", code=2).stderr
    assert "no server" in machine.here("rotate-keys", "s3", "other", "--target", "local", code=1).stderr


@pytest.mark.parametrize("kind", ["admin", "member"])
def test_a_chosen_password_is_proven_again_after_a_kill_and_on_repetition(
    machine: Machine, member: str, tmp_path: Path, kind: str
) -> None:
    user = member if kind == "member" else "admin"
    (tmp_path / "password").write_text(f"chosen by the {kind}\n")
    chosen = (*rotation(user), "--password-file", str(tmp_path / "password"))
    kill_group(stopped_after(machine, "ok record", *chosen))
    for _ in range(2):
        machine.here(*chosen)
    assert status(machine, f"chosen by the {kind}", user) == 200
    assert machine.create()["changed"] is False


def test_an_invalid_pending_password_is_replaced(machine: Machine) -> None:
    machine.create()
    old = machine.password()
    kill_group(stopped_after(machine, "ok stage", *ROTATE))
    edit(machine, pending="oops")
    machine.here(*ROTATE)
    assert (status(machine, machine.password()), status(machine, old)) == (200, 401)


def test_the_printed_command_completes_an_interrupted_rotation(machine: Machine, member: str) -> None:
    kill_group(stopped_after(machine, "ok stage", *rotation(member)))
    told = machine.here("show-password", "--user", member, code=1).stderr
    assert f"`deployer rotate-password mlflow --user {member}" in told
    machine.here(*rotation(member))
    kill_group(stopped_after(machine, "ok change", *rotation(member)))
    told = machine.here("show-password", "--user", member).stderr
    line = told[told.index("`deployer ") + len("`deployer ") :].partition("`")[0]
    machine.shell(f'"$DEPLOYER" {line}')
    assert "interrupted" not in machine.here("show-password", "--user", member).stderr
    assert status(machine, member_password(machine, member), member) == 200


def test_no_password_is_sent_to_another_program_on_the_port_of_a_stopped_server(machine: Machine) -> None:
    address = machine.create()["address"]
    kill_group(stopped_after(machine, "ok change", *ROTATE))
    machine.run("stop")
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))) as listener:
        listener.settimeout(1)
        for command in (("show-password",), ("env",), ("share",)):
            machine.run(*command)
        with pytest.raises(TimeoutError):
            listener.accept()
    machine.run("start")
    machine.here(*ROTATE)


def test_a_member_is_not_blamed_for_the_administrators_password(machine: Machine, member: str) -> None:
    good = secrets_file(machine).read_bytes()
    edit(machine, current="not-the-password-any-more")
    for command in (rotation(member), ("share", "--user", member)):
        told = machine.here(*command, code=5).stderr
        assert "does not accept the stored password of 'admin'" in told
        assert "rotate-password mlflow --recover" in told
    secrets_file(machine).write_bytes(good)


def test_a_recovery_reports_an_unwritable_database(machine: Machine) -> None:
    machine.create()
    good = secrets_file(machine).read_bytes()
    edit(machine, current="not-the-password-any-more")
    (database,) = machine.state.glob("servers/mlflow/**/auth.db")
    with closing(sqlite3.connect(database)) as locked:
        locked.execute("BEGIN IMMEDIATE")
        told = machine.here(*ROTATE, "--recover", code=None).stderr
    assert "OperationalError: database is locked" in told
    secrets_file(machine).write_bytes(good)


@pytest.mark.parametrize("line", ["ok stage", "ok change"])
def test_a_rotation_survives_an_edit_of_the_stored_passwords(machine: Machine, line: str) -> None:
    machine.create()
    old = machine.password()
    process = stopped_after(machine, line, *ROTATE)
    edit(machine, pending="somebody-edited-this", current="and-this-one-too")
    go_on(process)
    assert machine.password() not in (old, "somebody-edited-this", "and-this-one-too")
    assert (status(machine, machine.password()), status(machine, old)) == (200, 401)
    assert machine.create()["changed"] is False


def test_an_edit_after_a_kill_is_reported_and_recovered_on_request(machine: Machine) -> None:
    machine.create()
    process = stopped_after(machine, "ok change", *ROTATE)
    kill_group(process)
    edit(machine, pending="somebody-edited-this")
    assert "--recover" in machine.here(*ROTATE, code=5).stderr
    machine.here(*ROTATE, "--recover")
    assert status(machine, machine.password()) == 200
    edit(machine, pending="x" * 65537)  # too long for a header
    machine.here(*ROTATE)
    edit(machine, pending="x" * 65537, current="y" * 65537)
    machine.here(*ROTATE, "--recover")
    assert status(machine, machine.password()) == 200
    assert machine.create()["changed"] is False


def test_simultaneous_rotations_end_with_one_password(machine: Machine) -> None:
    machine.create()
    old = machine.password()
    both = [machine.popen(*ROTATE) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert (status(machine, machine.password()), status(machine, old)) == (200, 401)
    assert machine.remains() == []


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", ["admin", "member"])
def test_a_rotation_killed_at_any_instant_continues(
    machine: Machine, member: str, seed: int, soak: bool, kind: str
) -> None:
    user = member if kind == "member" else "admin"
    command = rotation(user)
    machine.here(*command)
    measured = measure(machine, command)
    assert {"stage", "change", "record", "verify"} <= set(measured[1])

    def shown() -> str:
        return machine.password() if user == "admin" else member_password(machine, user)

    for kill in kills_of(seed, f"rotate {kind}", command, measured, soak=soak):
        before = shown()
        kill(machine)
        assert status(machine, shown(), user) == 200
        machine.run("create")  # an interrupted rotation blocks no other command
        machine.here(*command)
        assert (status(machine, shown(), user), status(machine, before, user)) == (200, 401)
        assert machine.remains() == []
    assert machine.create()["changed"] is False


def candidates(machine: Machine, user: str) -> list[str]:
    """Return the stored passwords of a user: the current password and, during a rotation, the pending password."""
    stored = json.loads(secrets_file(machine).read_text())["admin"]
    prefix = "" if user == "admin" else "member.anna_40uni.example."
    return [stored[f"{prefix}{kind}"] for kind in ("current", "pending") if f"{prefix}{kind}" in stored]


def rotations_under_load(machine: Machine, rounds: int, writes: int) -> None:
    add_member(machine, MEMBER)
    machine.here(*ROTATE_MEMBER)
    load = Load(url(None, machine.record()["assigned"]["ports"]["http"]), lambda user: candidates(machine, user))
    rotate_under_load(load, {"admin": (machine, ROTATE), MEMBER: (machine, ROTATE_MEMBER)}, rounds, writes)


@pytest.mark.timeout(3600)
def test_valid_passwords_are_accepted_and_old_passwords_refused_under_load(machine: Machine, soak: bool) -> None:
    machine.create()
    rotations_under_load(machine, 20 if soak else 5, 5000 if soak else 100)


@pytest.mark.timeout(3600)
def test_two_workers_change_a_password_together(new_machine: Callable[[], Machine], soak: bool) -> None:
    machine = new_machine()
    machine.create("mlflow", "--workers", "2")
    assert len(machine.processes()) == 3
    rotations_under_load(machine, 20 if soak else 3, 500 if soak else 30)
