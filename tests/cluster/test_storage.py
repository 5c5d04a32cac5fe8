"""Volumes have the size that was asked for: a full one is really full."""

from __future__ import annotations

import json

import pytest

from tests.cluster.pods import claim, pod, ready, run_in
from tests.cluster.testbed.cluster import Cluster
from tests.cluster.testbed.command import CommandFailed


def test_a_claim_without_a_class_gets_a_volume_that_can_be_full(cluster: Cluster, namespace: str) -> None:
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
