"""One cluster for all tests of this folder; it ends with them unless it ran before or is to be kept."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.cluster.testbed.cluster import Cluster


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
