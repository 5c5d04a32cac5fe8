"""Volumes have the requested size, outlive pods and end with their claims."""

from __future__ import annotations

import json

import pytest

from tests.cluster.pods import claim, pod, ready, run_in
from tests.testbed.cluster import Cluster
from tests.testbed.command import CommandFailed, run, wait_until


def test_a_claim_without_a_class_gets_a_volume_of_the_requested_size(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim(namespace, "64Mi"), pod("writer", namespace, claim="data"))
    ready(cluster, namespace, "writer")
    bound = json.loads(cluster.kubectl("get", "pvc", "data", f"--namespace={namespace}", "--output=json"))
    assert bound["spec"]["storageClassName"] == "standard-csi"
    run_in(cluster, namespace, "writer", "dd", "if=/dev/zero", "of=/data/fits", "bs=1M", "count=16")
    with pytest.raises(CommandFailed, match="No space left on device"):
        run_in(cluster, namespace, "writer", "dd", "if=/dev/zero", "of=/data/full", "bs=1M", "count=64")


def test_data_outlives_the_pod(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim(namespace, "64Mi"), pod("first", namespace, claim="data"))
    ready(cluster, namespace, "first")
    run_in(cluster, namespace, "first", "sh", "-c", "echo kept > /data/file")
    cluster.kubectl("delete", "pod", "first", f"--namespace={namespace}")
    cluster.apply(pod("second", namespace, claim="data"))
    ready(cluster, namespace, "second")
    assert run_in(cluster, namespace, "second", "cat", "/data/file") == "kept\n"


def test_a_volume_is_removed_with_its_claim(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim(namespace, "64Mi"), pod("writer", namespace, claim="data"))
    ready(cluster, namespace, "writer")
    ask = ("get", "pvc", "data", f"--namespace={namespace}", "--output=jsonpath={.spec.volumeName}")
    volume = cluster.kubectl(*ask)
    files = ["ls", "/run/testbed/volumes"]
    assert f"{volume}.img" in run(*cluster.in_node(files)).split()
    cluster.kubectl("delete", "pod,pvc", "writer", "data", f"--namespace={namespace}", "--ignore-not-found")
    wait_until(lambda: f"{volume}.img" not in run(*cluster.in_node(files)).split(), f"the removal of {volume}", 60)
    wait_until(lambda: volume not in cluster.kubectl("get", "pv", "--output=name"), f"the end of {volume}", 60)


def test_a_claim_for_several_nodes_is_refused(cluster: Cluster, namespace: str) -> None:
    cluster.apply(claim(namespace, "64Mi", "ReadWriteMany"), pod("writer", namespace, claim="data"))
    ask = ("get", "events", f"--namespace={namespace}", "--field-selector=reason=ProvisioningFailed", "--output=yaml")
    wait_until(lambda: "only file systems that one node mounts" in cluster.kubectl(*ask), "a refusal", 60)
