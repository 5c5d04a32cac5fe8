"""`down` removes every trace of a cluster and does not disturb another cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.pods import claim, pod, ready
from tests.cluster.remains import KINDS, Traces
from tests.testbed import node
from tests.testbed.cluster import Cluster
from tests.testbed.command import wait_until
from tests.testbed.lifetime import ends_with_this_process


@pytest.fixture
def second(cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    directory = tmp_path / "second"
    with ends_with_this_process(directory):
        yield Cluster.up(directory)


def test_down_leaves_nothing(cluster: Cluster, second: Cluster, tmp_path: Path) -> None:
    found = node.find(tmp_path / "second")
    assert found is not None
    namespace = "default"
    second.provider.openshift().show()
    second.apply(claim(namespace, "64Mi"), pod("writer", namespace, claim="data"))
    ready(second, namespace, "writer")
    traces = Traces.of(found)
    assert len(traces.loop_files) == 2  # for the images and for the volume
    assert len(traces.found()) > len(KINDS)  # the search works
    second.down()
    wait_until(lambda: not traces.found(), "nothing left", 10)
    assert "node" in cluster.kubectl("get", "nodes")
