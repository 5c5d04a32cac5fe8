"""`--dry-run` prints the plan that the command then executes, and changes no byte of the state directory."""

from __future__ import annotations

import json
import re
import secrets
import socket
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from deployer.core.address import LOOPBACK
from deployer.storage.finding import Keys
from deployer.storage.trial import Bucket, client
from tests.local.test_s3 import with_keys
from tests.support.machine import Machine
from tests.support.object_store import WRITER, ObjectStore, rclone
from tests.support.servers import free_port

CREATE = ("create", "--target", "local")
LOG = "server.log"  # a running server logs the requests of a plan
CHANGING = ("create", "stop", "start", "delete", "rotate-password", "rotate-keys")


def snapshot(folder: Path) -> dict[str, object]:
    """Return each path below a folder with its mode and bytes, or with the target of a link."""
    found: dict[str, object] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = path.readlink()
        elif not path.name.startswith(LOG):
            mode = stat.S_IMODE(path.stat().st_mode)
            found[name] = (mode, path.read_bytes() if path.is_file() else None)
    return found


def planned(machine: Machine, *command: str) -> Any:
    """Return the plan of a command as JSON; check that neither output format changes anything."""
    before = snapshot(machine.home)
    shown = machine.run(*command, "--dry-run").stdout
    plan = machine.json(*command, "--dry-run")
    assert snapshot(machine.home) == before
    assert (plan["dryRun"], plan["needed"]) == (True, any(step["needed"] for step in plan["steps"]))
    last = "This was a dry run: nothing was changed." if plan["needed"] else "There is nothing to do."
    assert shown.splitlines()[-1] == last
    assert all(re.search(rf"^{step['step']} .*{re.escape(step['state'])}$", shown, re.M) for step in plan["steps"])
    return plan


def executed_steps(machine: Machine, *command: str) -> dict[str, bool]:
    """Run a command; return whether each of its steps was needed."""
    said = machine.run(*command).stderr
    steps = re.findall(r"^(?:\[[0-9]/[0-9]\] ([a-z]+) \.\.\.|-- ([a-z]+): .*)$", said, re.M)
    return {needed or done: bool(needed) for needed, done in steps}


def steps(plan: Any) -> dict[str, bool]:
    return {step["step"]: step["needed"] for step in plan["steps"]}


def test_each_plan_lists_the_steps_of_the_command(machine: Machine) -> None:
    (machine.home / "password").write_text(f"{secrets.token_urlsafe(20)}\n")
    life: Sequence[tuple[str, ...]] = (
        CREATE,
        ("rotate-password", "--password-file", "password"),
        ("create", "--default-permission", "READ"),
        ("stop",),
        ("start",),
        ("delete",),
        CREATE,
        ("delete", "--delete-data", "--yes"),
    )
    for command in life:
        plan = planned(machine, *command)
        assert steps(plan) == executed_steps(machine, *command), command
        assert plan["needed"], command
    assert not (machine.state / "servers/mlflow").exists()


def test_a_dry_run_creates_nothing_on_an_empty_machine(bare_machine: Machine) -> None:
    plan = planned(bare_machine, *CREATE)
    assert [step["step"] for step in plan["steps"] if step["needed"]] == [
        "environment",
        "record",
        "credentials",
        "address",
        "start",
        "ready",
        "verify",
    ]
    assert "is not installed" in plan["steps"][0]["state"]
    assert list(bare_machine.home.iterdir()) == []
    for command in CHANGING[1:]:
        words = (command, "s3") if command == "rotate-keys" else (command,)
        refused = bare_machine.run(*words, "--target", "local", "--dry-run", code=1).stderr
        assert "there is no server 'mlflow' here" in refused
    assert list(bare_machine.home.iterdir()) == []


def test_a_running_server_is_not_touched(machine: Machine) -> None:
    machine.create()
    pid = machine.pid()
    assert steps(planned(machine, "create")) == dict.fromkeys(
        ("environment", "record", "credentials", "address", "start", "ready", "verify"), False
    )
    assert planned(machine, "start")["needed"] is False
    port = free_port()
    plan = planned(machine, "create", "--workers", "2", "--port", str(port))
    assert {"path": "spec.workers", "before": 1, "after": 2} in plan["changes"]
    assert {"path": "spec.local.port", "before": None, "after": port} in plan["changes"]
    assert [step["step"] for step in plan["steps"] if step["needed"]] == [
        "record",
        "address",
        "start",
        "ready",
        "verify",
    ]
    shown = machine.run("create", "--workers", "2", "--dry-run").stdout
    assert "spec.workers: 1 -> 2\n" in shown
    plan = planned(machine, "delete", "--delete-data")  # without a prompt
    assert plan["remarks"] == ["All runs, artifacts and credentials of 'mlflow' would be lost."]
    assert steps(planned(machine, "rotate-password")) == dict.fromkeys(("stage", "change", "record", "verify"), True)
    assert machine.pid() == pid
    assert machine.json("status")["proven"] is True
    # errors that the command would report
    other = machine.home / "other"
    other.write_text("another-password\n")
    for words, code in (
        (("create", "--password-file", "other"), 5),
        (("create", "--username", "anna"), 5),
        (("create", "--bucket", "my-bucket"), 5),
        (("rotate-password", "--user", "nobody"), 1),
        (("rotate-keys", "s3"), 2),
        (("rotate-keys", "kek"), 2),
    ):
        before = snapshot(machine.home)
        refused = machine.run(*words, "--dry-run", code=code).stderr
        assert snapshot(machine.home) == before
        assert machine.run(*words, code=code).stderr == refused
    machine.run("stop")
    assert planned(machine, "stop")["needed"] is False
    with socket.create_server((LOOPBACK, machine.record()["assigned"]["ports"]["http"])):
        before = snapshot(machine.home)
        refused = machine.run("start", "--dry-run", code=5).stderr
        assert "Address already in use" in refused
        assert snapshot(machine.home) == before


def test_a_dry_run_of_create_reports_the_errors_of_create(bare_machine: Machine) -> None:
    with socket.create_server((LOOPBACK, 0)) as held:
        port = str(held.getsockname()[1])
        for words, code in (
            (("--port", port), 5),
            (("--host", "192.0.2.1"), 2),
            (("--python", "/nonexistent/python"), 2),
            (("--mlflow-version", "3.17.999"), 1),
        ):
            refused = bare_machine.run(*CREATE, *words, "--dry-run", code=code).stderr
            assert not bare_machine.state.exists()
            assert bare_machine.run(*CREATE, *words, code=code).stderr == refused
            assert not (bare_machine.state / "servers/mlflow").exists()
            for folder in (*sorted(bare_machine.state.rglob("*"), reverse=True), bare_machine.state):
                folder.rmdir()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with rclone(tmp_path_factory.mktemp("rclone")) as running:
        yield running


def test_a_dry_run_creates_no_bucket_and_writes_no_object(bare_machine: Machine, store: ObjectStore) -> None:
    with_keys(bare_machine, store)
    s3 = client(Bucket(store.endpoint, "none"), Keys("test", *WRITER))
    bucket = f"team-{secrets.token_hex(4)}"
    there = [each["Name"] for each in s3.list_buckets()["Buckets"]]
    words = (*CREATE, "--bucket", bucket, "--s3-endpoint", store.endpoint)
    plan = planned(bare_machine, *words, "--make-bucket")
    assert plan["steps"][0] == {"step": "bucket", "needed": True, "state": "the bucket does not exist yet"}
    refused = bare_machine.run(*words, "--dry-run", code=1).stderr
    assert "add --make-bucket to make it" in refused
    assert [each["Name"] for each in s3.list_buckets()["Buckets"]] == there
    s3.create_bucket(Bucket=bucket)
    assert planned(bare_machine, *words, "--make-bucket")["steps"][0]["step"] == "environment"
    assert s3.list_objects_v2(Bucket=bucket).get("Contents", []) == []
    with_keys(bare_machine, store, ("WRONGACCESSKEY0123456", "wrong"))
    bare_machine.run(*words, "--dry-run", code=1)


def test_a_plan_neither_shows_nor_creates_secrets(machine: Machine) -> None:
    machine.create()
    stored = json.loads((machine.state / "servers/mlflow/secrets.json").read_text())
    kept = [value for part in stored.values() for value in part.values() if value != "admin"]
    for command in (("create",), ("rotate-password",), ("delete", "--delete-data")):
        for form in ((), ("-o", "json")):
            done = machine.run(*command, "--dry-run", *form)
            shown = done.stdout + done.stderr
            assert not [value for value in kept if value in shown]
    assert json.loads((machine.state / "servers/mlflow/secrets.json").read_text()) == stored
