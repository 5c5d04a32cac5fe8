"""The store of a server of this machine: secrets are never replaced, and one deployer at a time holds the lock."""

from __future__ import annotations

import fcntl
import json
import subprocess
from pathlib import Path

import pytest

from deployer.core.errors import Conflict, StateError
from deployer.core.secrets.references import SecretRef
from deployer.core.secrets.values import Secrets
from deployer.core.spec.schema import Spec
from deployer.core.stack.model import SERVER
from deployer.core.stack.record import Record
from deployer.targets import Deadline
from deployer.targets.local import process
from deployer.targets.local.store import LocalStore

USERNAME, PASSWORD = SecretRef("admin", "username"), SecretRef("admin", "current")
FIRST, SECOND = (Secrets({USERNAME: "admin", PASSWORD: letter * 12}) for letter in "xy")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    (tmp_path / "servers").mkdir()
    return LocalStore(tmp_path, "mlflow")


def test_stored_secrets_are_not_replaced(store: LocalStore) -> None:
    assert store.create_if_absent(FIRST).values == FIRST.values
    assert store.create_if_absent(SECOND).values == FIRST.values


def test_deletion_keeps_the_credentials_unless_the_data_is_deleted_too(store: LocalStore) -> None:
    store.create_if_absent(FIRST)
    store.save(Record(Spec()))
    store.data.mkdir()
    other = store.workload("cache")
    other.path.mkdir()
    for folder in (store.workload(SERVER), other):
        for path in (folder.log, folder.process):
            path.write_text("of the process")
    store.forget(data=False, deadline=Deadline.after(60))
    assert {path.name for path in store.folder.iterdir()} == {"data", "record.json", "secrets.json"}
    store.forget(data=True, deadline=Deadline.after(60))
    assert list(store.folder.parent.iterdir()) == []
    assert not store.known()


def test_two_deployers_never_lock_one_server(store: LocalStore) -> None:
    told: list[str] = []
    with store.lock("create", Deadline.after(60), told.append):
        with pytest.raises(Conflict, match="create"), store.lock("delete", Deadline.after(0), told.append):
            raise AssertionError
        with LocalStore(store.folder.parents[1], "other").lock("create", Deadline.after(0), told.append):
            pass
    assert [text.startswith("create (process ") for text in told] == [True]
    with store.lock("delete", Deadline.after(0), told.append):
        pass


def test_a_pid_that_belongs_to_another_process_is_not_signalled(tmp_path: Path) -> None:
    """The server runs in another container that shares the directory, and holds the lock."""
    record = tmp_path / "process.json"
    with subprocess.Popen(["sleep", "600"]) as innocent, record.open("w") as held:
        identity = {"pid": innocent.pid, "start": 1, "boot": process._boot_id(), "host": "a", "fingerprint": "b"}
        held.write(json.dumps(identity))
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        try:
            with pytest.raises(StateError, match="not as process"):
                process.stop(record, Deadline.after(5))
            assert innocent.poll() is None
        finally:
            innocent.kill()
    assert record.exists()
