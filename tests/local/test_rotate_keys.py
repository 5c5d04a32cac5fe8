"""Rotation of the keys of a bucket: tried first, proven afterwards, without any further use of the old keys."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import requests

from deployer.core.address import url
from tests.local.test_s3 import options, with_keys
from tests.support.killing import kill_in_step
from tests.support.machine import Machine
from tests.support.object_store import (
    SECOND,
    WRITER,
    Answer,
    ObjectStore,
    error,
    forms,
    objecting,
    rclone,
)
from tests.support.servers import free_port

ROTATE = ("rotate-keys", "s3")
NOTE = "api/2.0/mlflow-artifacts/artifacts/kept/note.txt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rclone")


@pytest.fixture(scope="module")
def store(folder: Path) -> Iterator[ObjectStore]:
    """A service that accepts both pairs of keys."""
    with rclone(folder, (WRITER, SECOND)) as running:
        yield running


@pytest.fixture
def bucket() -> str:
    return f"team-{secrets.token_hex(4)}"


def stored(machine: Machine) -> tuple[str, str]:
    kept = json.loads((machine.state / "servers/mlflow/secrets.json").read_text())["server"]
    return kept["s3-access-key-id"], kept["s3-secret-access-key"]


def state(machine: Machine) -> object:
    return (stored(machine), machine.record(), machine.pid())


def artifact(machine: Machine, content: bytes | None = None) -> bytes:
    """Write an artifact through the server, or read it."""
    login = ("admin", machine.password())
    address = f"{url(None, machine.record()['assigned']['ports']['http'])}/{NOTE}"
    answer = requests.request("GET" if content is None else "PUT", address, data=content, auth=login, timeout=30)
    assert answer.status_code == 200
    return answer.content


def require_proven_with(machine: Machine, pair: tuple[str, str]) -> None:
    assert stored(machine) == pair
    assert machine.json("status")["proven"] is True
    assert machine.json("create")["changed"] is False
    assert machine.remains() == []


def test_new_keys_replace_old_keys_and_the_old_keys_can_be_withdrawn(
    machine: Machine, tmp_path: Path, bucket: str
) -> None:
    port = free_port()
    with rclone(tmp_path, (WRITER, SECOND), port) as store:
        with_keys(machine, store)
        machine.run("create", *options(store, bucket, "--port", str(free_port())))
        artifact(machine, b"written with the old keys")
        before = state(machine)

        assert machine.json(*ROTATE, "--dry-run")["needed"] is False
        again = machine.run(*ROTATE)
        assert "has these S3 keys already" in again.stdout
        assert state(machine) == before

        nobody = ("NOBODYSACCESSKEY", "nobodys-secret-key-canary")
        with_keys(machine, store, nobody)
        refused = machine.run(*ROTATE, code=1).stderr
        assert "the service does not know this access key" in refused
        assert "the service does not know this access key" in machine.run(*ROTATE, "--dry-run", code=1).stderr
        assert state(machine) == before

        with_keys(machine, store, SECOND)
        steps = machine.json(*ROTATE, "--dry-run")["steps"]
        assert [step["step"] for step in steps if step["needed"]] == ["credentials", "start", "ready", "verify"]
        assert state(machine) == before
        rotated = machine.run(*ROTATE)
        assert "S3 keys from ~/.aws/credentials [default]" in rotated.stderr
        assert "is proven with the new S3 keys" in rotated.stdout
        printed = again.stdout + again.stderr + refused + rotated.stdout + rotated.stderr
        assert not [form for form in forms(*WRITER, *SECOND, *nobody) if form in printed]
        require_proven_with(machine, SECOND)
    with rclone(tmp_path, (SECOND,), port):
        machine.run("verify")
        assert artifact(machine) == b"written with the old keys"
        with_keys(machine, store, WRITER)
        assert "does not know this access key" in machine.run(*ROTATE, code=1).stderr
        require_proven_with(machine, SECOND)


def test_a_rotation_of_keys_killed_at_any_step_continues(
    machine: Machine, store: ObjectStore, bucket: str, seed: int, soak: bool
) -> None:
    with_keys(machine, store)
    machine.run("create", *options(store, bucket, "--port", str(free_port())))
    chance, pairs = random.Random(f"{seed} rotate-keys"), (SECOND, WRITER)
    # the longest time before the kill, in seconds; the first step is short
    steps = {"credentials": 0.02, "start": 1.0, "verify": 1.0}
    for number, (step, length) in enumerate([*steps.items()] * (5 if soak else 1)):
        pair = pairs[number % 2]
        with_keys(machine, store, pair)
        kill_in_step(machine, ROTATE, step, chance, length)
        machine.run(*ROTATE)
        require_proven_with(machine, pair)
        assert len(machine.processes()) == 1


def test_failing_new_keys_are_reported_and_the_old_keys_can_return(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    def refuse_the_server(_: str, headers: Mapping[str, str]) -> Answer | None:
        """Accept the new keys in the trial, and refuse them once they are stored."""
        given = (machine.state / "servers/mlflow/secrets.json").exists() and stored(machine) == SECOND
        if given and SECOND[0] in headers.get("authorization", ""):
            return 403, {}, error("AccessDenied")
        return None

    with objecting(store, refuse_the_server) as endpoint:
        relay = ObjectStore(endpoint)
        with_keys(machine, relay)
        machine.run("create", *options(relay, bucket))
        with_keys(machine, relay, SECOND)
        failed = machine.run(*ROTATE, code=1).stderr
        assert "Verification failed: the server has the new S3 keys now, but is not proven with them" in failed
        assert "type the same command again" in failed
        with_keys(machine, relay)
        machine.run(*ROTATE)
        require_proven_with(machine, WRITER)


@pytest.mark.parametrize(("kind", "words"), [("kek", "decrypts"), ("webhook", "decrypts"), ("flask", "signs")])
def test_a_kind_of_key_without_rotation_is_refused_with_the_reason(machine: Machine, kind: str, words: str) -> None:
    assert words in machine.here("rotate-keys", kind, code=2).stderr
