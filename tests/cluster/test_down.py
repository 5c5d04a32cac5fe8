"""`down` leaves nothing of a cluster behind, and a cluster beside it undisturbed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.pods import claim, pod, ready
from tests.cluster.testbed import node, testbed
from tests.cluster.testbed.cluster import Cluster
from tests.cluster.testbed.command import run, wait_until
from tests.cluster.testbed.node import Node

KINDS = ("mnt", "net", "pid", "uts", "ipc")


@pytest.fixture
def second(cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    directory = tmp_path / "second"
    yield Cluster.up(directory)
    left = testbed.find(directory)
    if left:
        left.down()


def _processes(namespaces: set[str]) -> list[str]:
    """Commands of the processes of this machine that are in one of these namespaces."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if namespaces & {(process / "ns" / kind).readlink().name for kind in KINDS}:
                found.append((process / "cmdline").read_text())
        except OSError:
            continue  # it ended while others were read
    return found


def _remains(gone: Node, namespaces: set[str], volume: str) -> list[str]:
    there = gone.place
    found = _processes(namespaces)
    found += [link["ifname"] for link in json.loads(run("ip", "-j", "link")) if link["ifname"] == there.link]
    networks = {there.network, there.pods, there.services}
    found += [route["dst"] for route in json.loads(run("ip", "-j", "route")) if route["dst"] in networks]
    found += [str(folder) for folder in there.cgroup_folders() if folder.exists()]
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(gone.directory) in line]
    found += [line for line in run("nft", "list", "ruleset").splitlines() if f".{there.number}." in line]
    found += [line for line in run("losetup", "--list", "--noheadings").splitlines() if volume in line]
    found += [str(gone.directory)] if gone.directory.exists() else []
    return found


def test_down_leaves_nothing(cluster: Cluster, second: Cluster, tmp_path: Path) -> None:
    found = node.find(tmp_path / "second")
    assert found is not None
    namespace = "default"
    second.provider.openshift().show()
    second.apply(claim(namespace, "64Mi"), pod("writer", namespace, claim="data"))
    ready(second, namespace, "writer")
    ask = ("get", "pvc", "data", f"--namespace={namespace}", "--output=jsonpath={.spec.volumeName}")
    volume = second.kubectl(*ask)
    namespaces = {Path(f"/proc/{found.pid}/ns/{kind}").readlink().name for kind in KINDS}
    assert len(_remains(found, namespaces, volume)) > len(KINDS)  # the search finds what is there
    second.down()
    wait_until(lambda: not _remains(found, namespaces, volume), "nothing left", 10)
    assert "node" in cluster.kubectl("get", "nodes")
