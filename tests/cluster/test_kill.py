"""SIGKILL at seeded random instants of create, change and delete on a cluster, then the same command again."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.cluster.user import User
from tests.killing import instants, kill_after, kill_in_step, measure

CREATE = ("create", "--expose", "none")
DELETE = ("delete", "--delete-data", "--yes")


def require_one_proven_server(user: User) -> None:
    user.run(*CREATE)
    assert user.json("status")["proven"] is True
    assert len(user.objects("deployment", "pvc")) == 2
    assert user.objects("lease") == set()
    assert user.run("diff").returncode == 0


def require_nothing(user: User) -> None:
    again = user.run(*DELETE, code=None)
    assert again.returncode == 0 or "no server" in again.stderr, again.stderr
    assert user.objects() == set()


@pytest.mark.timeout(3600)
def test_a_create_killed_at_any_instant_goes_on(user: User, seed: int, soak: bool) -> None:
    duration, spans = measure(user, CREATE)
    require_nothing(user)
    assert {"record", "credentials", "address", "start", "ready", "verify"} <= set(spans)
    chance = random.Random(f"{seed} create steps")
    kills: list[Callable[[], None]] = [
        lambda instant=instant: kill_after(user, CREATE, instant)
        for instant in instants(seed, "create", 50 if soak else 6, duration)
    ]
    kills += [
        lambda step=step, length=end - begin: kill_in_step(user, CREATE, step, chance, length)
        for step, (begin, end) in spans.items()
    ]
    for kill in kills:
        kill()
        require_one_proven_server(user)
        require_nothing(user)


@pytest.mark.timeout(3600)
def test_a_change_killed_at_any_instant_goes_on(user: User, seed: int, soak: bool) -> None:
    user.run(*CREATE)
    permissions = ("READ", "EDIT")
    duration, _ = measure(user, (*CREATE, "--default-permission", "MANAGE"))
    password = user.run("show-password").stdout
    for number, instant in enumerate(instants(seed, "change", 50 if soak else 6, duration)):
        change = (*CREATE, "--default-permission", permissions[number % 2])
        kill_after(user, change, instant)
        user.run(*change)
        assert user.json("status")["proven"] is True
        assert permissions[number % 2] in user.get("configmap", "mlflow-server")["data"]["basic_auth.ini"]
        assert user.run("show-password").stdout == password
        assert user.run("diff").returncode == 0


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("command", [DELETE, ("delete",)], ids=["with data", "keeping data"])
def test_a_delete_killed_at_any_instant_goes_on(user: User, seed: int, soak: bool, command: tuple[str, ...]) -> None:
    user.run(*CREATE)
    duration, spans = measure(user, command)
    chance = random.Random(f"{seed} delete steps")
    kills: list[Callable[[], None]] = [
        lambda instant=instant: kill_after(user, command, instant)
        for instant in instants(seed, f"delete {command}", 50 if soak else 3, duration)
    ]
    kills += [
        lambda step=step, length=end - begin: kill_in_step(user, command, step, chance, length)
        for step, (begin, end) in spans.items()
    ]
    for kill in kills:
        user.run(*CREATE)
        kill()
        again = user.run(*command, code=None)
        assert again.returncode == 0 or "no server" in again.stderr, again.stderr
        kept = {"configmap", "persistentvolumeclaim", "secret"} if command == ("delete",) else set()
        assert {item.partition("/")[0] for item in user.objects()} == kept
