"""Password changes on a cluster: without a restart, and despite outages, kills and edited Secrets."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.cluster.test_kill import Kill, side_by_side
from tests.cluster.user import User
from tests.support.killing import go_on, kills_of, measure, stopped_after
from tests.support.load import API, Load, rotate_under_load
from tests.support.machine import kill_group
from tests.testbed.cluster import Cluster
from tests.testbed.command import CommandFailed

ROTATE = ("rotate-password",)
MEMBER = "anna@uni.example"
ROTATE_MEMBER = ("rotate-password", "--user", MEMBER)


@pytest.fixture(autouse=True)
def names(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process resolve the cluster's host names, like the commands in the cluster's network."""
    usual = socket.getaddrinfo

    def found(host: str, *arguments: Any, **options: Any) -> Any:
        inside = str(host).endswith(f".{cluster.apps_domain}")
        return usual(cluster.node_address if inside else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)


def statuses(user: User, *logins: tuple[str, str] | None) -> list[int]:
    """Return the status of a request with each of these logins at the server's public address."""
    url = f"https://{user.host()}/{API}/users/current"
    found = []
    for login in logins:
        ask = partial(requests.get, url, auth=login, verify=str(user.bed.ca_file), timeout=60)
        while (answer := ask()).status_code == 429:
            time.sleep(int(answer.headers["Retry-After"]))
        found.append(answer.status_code)
    return found


def shown(user: User, *options: str) -> str:
    return user.run("show-password", *options).stdout.removesuffix("\n")


def retry(attempt: Callable[[], object]) -> None:
    """Call a function until it succeeds, for 60 seconds at most."""
    for _ in range(60):
        with suppress(CommandFailed, AssertionError):
            attempt()
            return
        time.sleep(1)
    attempt()


def add_member(user: User) -> None:
    body = {"username": MEMBER, "password": "a-password-of-her-own"}
    url, trust = f"https://{user.host()}/{API}/users/create", str(user.bed.ca_file)
    requests.post(url, auth=("admin", shown(user)), json=body, verify=trust, timeout=60).raise_for_status()
    user.run(*ROTATE_MEMBER)


def edit(user: User, **values: str) -> None:
    """Change stored passwords with kubectl."""
    user.kubectl("patch", "secret", "mlflow-admin", "--type=merge", "-p", json.dumps({"stringData": values}))


@pytest.fixture
def shared(shared_user: User) -> User:
    """A user with a proven, running server behind the Ingress."""
    shared_user.create()
    return shared_user


def test_a_new_password_is_proven_and_nothing_is_restarted(shared: User) -> None:
    before = [shared.get(kind, name) for kind, name in (("deployment", "mlflow"), ("secret", "mlflow-server"))]
    pods, old = shared.objects("pod"), shown(shared)
    done = shared.json(*ROTATE)
    assert [check["ok"] for check in done["verified"]] == [True] * 4
    assert statuses(shared, ("admin", shown(shared)), ("admin", old), None) == [200, 401, 401]
    assert shared.objects("pod") == pods
    assert [shared.get(kind, name) for kind, name in (("deployment", "mlflow"), ("secret", "mlflow-server"))] == before
    assert "pending" not in shared.get("secret", "mlflow-admin")["data"]
    assert shared.create()["changed"] is False
    assert shared.run("diff").returncode == 0
    shared.kubectl("rollout", "restart", "deployment/mlflow")
    shared.kubectl("rollout", "status", "deployment/mlflow", "--timeout=120s")
    retry(lambda: shared.run("verify"))  # the gateway learns of the new pod a moment later
    assert statuses(shared, ("admin", shown(shared)), ("admin", old)) == [200, 401]


def test_rotation_without_a_public_address_uses_a_tunnel(user: User) -> None:
    user.create("mlflow", "--expose", "none", host=False)
    old = shown(user)
    user.run(*ROTATE)
    assert shown(user) != old
    user.run("verify")


def test_rotation_recovers_from_edited_and_deleted_secrets(shared: User) -> None:
    old = shown(shared)
    process = stopped_after(shared, "ok stage", *ROTATE)
    edit(shared, pending="somebody-edited-this", current="and-this-one-too")
    go_on(process)
    assert statuses(shared, ("admin", shown(shared)), ("admin", old)) == [200, 401]
    edit(shared, current="edited-by-hand-later")
    refused = shared.run(*ROTATE, code=5).stderr
    assert "kubectl" in refused
    assert "--recover" in refused
    shared.run(*ROTATE, "--recover")
    assert statuses(shared, ("admin", shown(shared))) == [200]
    shared.kubectl("delete", "secret", "mlflow-admin")
    assert "--recover" in shared.run(*ROTATE, code=1).stderr
    shared.run(*ROTATE, "--recover")
    assert statuses(shared, ("admin", shown(shared))) == [200]
    assert shared.create()["changed"] is False
    assert shared.run("diff").returncode == 0


def test_rotation_completes_after_an_api_outage_or_a_kill_before_the_record(shared: User) -> None:
    for killed in (False, True):
        old = shown(shared)
        process = stopped_after(shared, "ok change", *ROTATE)
        shared.bed.kill("apiserver")
        os.killpg(process.pid, signal.SIGCONT)
        time.sleep(3)  # the command finds no API server
        if killed:
            kill_group(process)
        shared.bed.start("apiserver")
        if not killed:
            go_on(process)
        retry(lambda: shared.objects("secret"))  # the API server answers 403 until it has read the roles
        assert statuses(shared, ("admin", shown(shared)), ("admin", old)) == [200, 401]
    shared.run(*ROTATE)
    assert shared.create()["changed"] is False
    assert shared.objects("lease") == set()


def test_rotations_from_two_laptops_wait_for_each_other(shared: User, tmp_path: Path) -> None:
    old = shown(shared)
    both = [who.popen(*ROTATE) for who in (shared, shared.on_another_laptop(tmp_path / "laptop"))]
    said = [process.communicate(timeout=180)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert statuses(shared, ("admin", shown(shared)), ("admin", old)) == [200, 401]
    assert shared.objects("lease") == set()


@pytest.mark.timeout(3600)
def test_a_rotation_killed_at_any_instant_continues(new_user: Callable[..., User], seed: int, soak: bool) -> None:
    users = [new_user(), new_user()]
    for user in users:
        user.create()
        add_member(user)
    kinds = {"admin": ROTATE, MEMBER: ROTATE_MEMBER}
    spans: dict[str, list[Kill]] = {}
    for who, command in kinds.items():
        measured = measure(users[0], command)
        assert {"stage", "change", "record", "verify"} <= set(measured[1])
        spans[who] = kills_of(seed, f"rotate {who}", command, measured, soak=soak)
    trials = [(who, kill) for who, kills in spans.items() for kill in kills]
    random.Random(seed).shuffle(trials)

    def judge(user: User, trial: tuple[str, Kill]) -> None:
        who, kill = trial
        options = () if who == "admin" else ("--user", who)
        before = shown(user, *options)
        kill(user)
        assert statuses(user, (who, shown(user, *options))) == [200]
        user.run(*kinds[who])
        assert statuses(user, (who, shown(user, *options)), (who, before)) == [200, 401]
        assert user.objects("lease") == set()

    side_by_side(users, trials, judge)
    for user in users:
        assert user.create()["changed"] is False


def candidates(user: User, who: str) -> list[str]:
    """Return a user's stored passwords: the current one and, during a change, the pending one."""
    stored = user.get("secret", "mlflow-admin")["data"]
    prefix = "" if who == "admin" else "member.anna_40uni.example."
    keys = [f"{prefix}{kind}" for kind in ("current", "pending")]
    return [base64.b64decode(stored[key]).decode() for key in keys if key in stored]


def rotations_under_load(user: User, rounds: int, writes: int) -> None:
    add_member(user)
    load = Load(f"https://{user.host()}", lambda who: candidates(user, who), str(user.bed.ca_file))
    try:
        rotate_under_load(load, {"admin": (user, ROTATE), MEMBER: (user, ROTATE_MEMBER)}, rounds, writes)
    except AssertionError:
        print(user.run("logs", code=None).stdout[-5000:])  # shows whether a worker ended
        raise


@pytest.mark.timeout(3600)
def test_valid_passwords_are_accepted_and_old_passwords_refused_under_load(shared: User, soak: bool) -> None:
    rotations_under_load(shared, 20 if soak else 5, 5000 if soak else 100)
    assert shared.create()["changed"] is False


@pytest.mark.full_scale
@pytest.mark.timeout(3600)
def test_two_workers_change_a_password_together(user: User, soak: bool) -> None:
    user.create("mlflow", "--workers", "2")
    rotations_under_load(user, 20 if soak else 3, 500 if soak else 30)
    again = user.run("create", "-o", "json")
    assert json.loads(again.stdout)["changed"] is False, again.stderr
