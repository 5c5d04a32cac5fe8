"""SIGKILL at seeded random instants of create, change and delete on a cluster; then the same command runs again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from tests.cluster.user import User
from tests.support.killing import instants, kill_after, kills_of, measure

CREATE = ("create", "--expose", "none")
DELETE = ("delete", "--delete-data", "--yes")
Kill = Callable[[User], None]
_T = TypeVar("_T")


def side_by_side(users: Sequence[User], trials: Sequence[_T], judge: Callable[[User, _T], None]) -> None:
    """Divide the trials among the users, who run them in parallel: a trial mostly waits for the cluster."""

    def lane(first: int) -> None:
        for trial in trials[first :: len(users)]:
            judge(users[first], trial)

    with ThreadPoolExecutor(len(users)) as pool:
        for done in [pool.submit(lane, first) for first in range(len(users))]:
            done.result()


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


@pytest.fixture
def users(new_user: Callable[..., User]) -> list[User]:
    """Two users in different namespaces."""
    return [new_user(), new_user()]


@pytest.mark.timeout(3600)
def test_a_create_killed_at_any_instant_continues(users: list[User], seed: int, soak: bool) -> None:
    measured = measure(users[0], CREATE)
    require_nothing(users[0])
    assert {"record", "credentials", "address", "start", "ready", "verify"} <= set(measured[1])

    def judge(user: User, kill: Kill) -> None:
        kill(user)
        require_one_proven_server(user)
        require_nothing(user)

    side_by_side(users, kills_of(seed, "create", CREATE, measured, soak=soak), judge)


@pytest.mark.timeout(3600)
def test_a_change_killed_at_any_instant_continues(users: list[User], seed: int, soak: bool) -> None:
    passwords = {}
    for user in users:
        user.run(*CREATE)
        duration, _ = measure(user, (*CREATE, "--default-permission", "MANAGE"))
        passwords[user.namespace] = user.run("show-password").stdout

    def judge(user: User, instant: float) -> None:
        before = user.get("configmap", "mlflow-server")["data"]["basic_auth.ini"]
        permission = "EDIT" if "READ" in before else "READ"
        change = (*CREATE, "--default-permission", permission)
        kill_after(user, change, instant)
        user.run(*change)
        assert user.json("status")["proven"] is True
        assert permission in user.get("configmap", "mlflow-server")["data"]["basic_auth.ini"]
        assert user.run("show-password").stdout == passwords[user.namespace]
        assert user.run("diff").returncode == 0

    side_by_side(users, instants(seed, "change", 50 if soak else 4, duration), judge)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "command",
    [pytest.param(DELETE, id="with data"), pytest.param(("delete",), id="keeping data", marks=pytest.mark.full_scale)],
)
def test_a_delete_killed_at_any_instant_continues(
    users: list[User], seed: int, soak: bool, command: tuple[str, ...]
) -> None:
    users[0].run(*CREATE)
    measured = measure(users[0], command)

    def judge(user: User, kill: Kill) -> None:
        user.run(*CREATE)
        kill(user)
        again = user.run(*command, code=None)
        assert again.returncode == 0 or "no server" in again.stderr, again.stderr
        kept = {"configmap", "persistentvolumeclaim", "secret"} if command == ("delete",) else set()
        assert {item.partition("/")[0] for item in user.objects()} == kept

    side_by_side(users, kills_of(seed, f"delete {command}", command, measured, soak=soak), judge)
