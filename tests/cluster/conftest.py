"""One cluster for all tests of a process. It ends with the process unless it ran before or DEPLOYER_KEEP_CLUSTER=1."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import count
from pathlib import Path
from typing import IO, Any

import pytest

from tests.cluster.pods import pod, ready
from tests.cluster.shown import logs_of_the_node
from tests.cluster.user import User
from tests.support.machine import watched
from tests.support.witness import SESSION, fail_if_any
from tests.testbed import testbed
from tests.testbed.cluster import Cluster
from tests.testbed.lifetime import ends_with_this_process
from tests.testbed.testbed import lock_file

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Apply timeouts to test functions only: the first test waits for a cluster, whose build may take many minutes."""
    for item in items:
        if item.path.is_relative_to(HERE):
            limit = item.get_closest_marker("timeout")
            item.add_marker(pytest.mark.timeout(*(limit.args if limit else ()), func_only=True), append=False)


@contextmanager
def own_directory() -> Iterator[tuple[Path, IO[str]]]:
    """Yield the first run directory that no other test process uses, and its lock; faults would disturb others."""
    for number in count():
        directory = Path(f"{testbed.DIRECTORY}-{number}") if number else testbed.DIRECTORY
        with lock_file(directory, "tests").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield directory, lock
            return


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with own_directory() as (directory, lock):
        stays = Cluster.running(directory) or os.environ.get("DEPLOYER_KEEP_CLUSTER") == "1"
        with nullcontext() if stays else ends_with_this_process(directory, lock):
            # a build may take many minutes: people must see its progress
            with request.config.pluginmanager.get_plugin("capturemanager").global_and_fixture_disabled():
                found = Cluster.up(directory)
            yield found
            for where, content in logs_of_the_node(found):
                SESSION.examine(content, where)
            if not stays:
                found.down()
        fail_if_any(SESSION.findings())


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


@contextmanager
def making_users(cluster: Cluster, folder: Path) -> Iterator[Callable[..., User]]:
    """Yield a function that makes ordinary users with a home; by default each user is the admin of a new namespace."""
    made: list[User] = []
    numbers = count()  # two threads may make users at once
    with ExitStack() as stack:

        def make(*, rules: list[dict[str, Any]] | None = None, namespace: str | None = None) -> User:
            namespace = namespace or stack.enter_context(cluster.namespace())
            number = next(numbers)
            name = f"user-{namespace}-{number}"
            home = folder / f"home{number}"
            home.mkdir()
            kubeconfig = cluster.user(name, namespace, rules=rules) if rules else cluster.user(name, namespace)
            user = User(home, cluster=cluster, kubeconfig=kubeconfig, namespace=namespace, name=name)
            made.append(user)
            return user

        with watched(made):
            yield make


@pytest.fixture
def new_user(cluster: Cluster, tmp_path: Path) -> Iterator[Callable[..., User]]:
    with making_users(cluster, tmp_path) as make:
        yield make


@pytest.fixture(scope="module")
def module_users(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., User]]:
    """Makes the users of `shared_user`."""
    with making_users(cluster, tmp_path_factory.mktemp("shared")) as make:
        yield make


@pytest.fixture(scope="module")
def current_user(module_users: Callable[..., User]) -> list[User]:
    """The user of `shared_user`, the last one of this list."""
    return [module_users()]


@pytest.fixture
def shared_user(
    request: pytest.FixtureRequest, module_users: Callable[..., User], current_user: list[User]
) -> Iterator[User]:
    """One user for all tests of a module, for tests that leave a server that `create` accepts.

    After a failed test the next test gets a new user, so that one failure does not cause another.
    """
    failed = request.session.testsfailed
    yield current_user[-1]
    if request.session.testsfailed > failed:
        spoilt = current_user[-1]
        spoilt.bed.kubectl("delete", "deployments", "--all", "--namespace", spoilt.namespace)  # frees the node's memory
        current_user.append(module_users())


@pytest.fixture
def user(new_user: Callable[..., User]) -> User:
    """An ordinary user with the role admin in an empty namespace."""
    return new_user()


@pytest.fixture
def stranger() -> Callable[[User], str]:
    """Starts somebody else's pod in a user's namespace; returns the pod's name once the pod runs."""

    def make(user: User) -> str:
        user.bed.apply(pod("stranger", user.namespace))
        ready(user.bed, user.namespace, "stranger")
        return "stranger"

    return make
