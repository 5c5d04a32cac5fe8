"""One cluster for all tests of this folder; it ends with them unless it ran before or is to be kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.pods import pod, ready
from tests.cluster.testbed.cluster import Cluster
from tests.cluster.user import User

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a test's time begin with itself: the first one waits for a cluster that may take half an hour to build."""
    for item in items:
        if item.path.is_relative_to(HERE):
            limit = item.get_closest_marker("timeout")
            item.add_marker(pytest.mark.timeout(*(limit.args if limit else ()), func_only=True), append=False)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    ran_before = Cluster.running()
    found = Cluster.up()
    yield found
    if not ran_before and os.environ.get("DEPLOYER_KEEP_CLUSTER") != "1":
        found.down()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    with cluster.namespace() as name:
        yield name


@pytest.fixture(scope="module")
def openshift(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster as an OpenShift, for the tests of one module."""
    with cluster.openshift():
        yield cluster


@pytest.fixture
def project(openshift: Cluster) -> Iterator[str]:
    with openshift.project() as name:
        yield name


@pytest.fixture
def new_user(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., User]]:
    """Makes ordinary users, each with a home, and unless told otherwise admins of a namespace of their own."""
    made: list[User] = []
    with ExitStack() as stack:

        def make(*, rules: list[dict[str, Any]] | None = None, namespace: str | None = None) -> User:
            namespace = namespace or stack.enter_context(cluster.namespace())
            name = f"user-{namespace}-{len(made)}"
            home = tmp_path / f"home{len(made)}"
            home.mkdir()
            kubeconfig = cluster.user(name, namespace, rules=rules) if rules else cluster.user(name, namespace)
            user = User(home, cluster=cluster, kubeconfig=kubeconfig, namespace=namespace, name=name)
            made.append(user)
            return user

        yield make


@pytest.fixture
def user(new_user: Callable[..., User]) -> User:
    """An ordinary user with the role admin in an empty namespace."""
    return new_user()


@pytest.fixture
def stranger() -> Callable[[User], str]:
    """Puts a pod of somebody else into a user's namespace; returns its name once it runs."""

    def make(user: User) -> str:
        user.bed.apply(pod("stranger", user.namespace))
        ready(user.bed, user.namespace, "stranger")
        return "stranger"

    return make
