"""The API server itself judges what is rendered: every profile, exposure and shape, strictly, by dry run."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from tests.support.manifest_cases import CASES, rendered
from tests.testbed import programs
from tests.testbed.cluster import Cluster


@pytest.fixture(scope="module", autouse=True)
def routes(cluster: Cluster) -> Iterator[None]:
    """OpenShift's Route as its project defines it; away again, because with it the cluster looks like OpenShift."""
    folder = str(programs.definitions("route"))
    cluster.kubectl("apply", "--server-side", "-f", folder)
    cluster.kubectl("wait", "--for=condition=established", "-f", folder, "--timeout=30s")
    yield
    cluster.kubectl("delete", "-f", folder)


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_accepts_every_drawn_manifest_strictly(cluster: Cluster, case: str) -> None:
    manifests = [yaml.safe_load(text) for text in rendered(case).values()]
    with cluster.namespace() as namespace:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
        accepted = cluster.kubectl(
            *("-n", namespace, "create", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-"), input=listed
        )
    assert len(accepted.split()) == len(manifests)


def test_a_field_that_does_not_exist_is_refused(cluster: Cluster) -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"prots": []}}
    with cluster.namespace() as namespace, pytest.raises(Exception, match="prots"):
        cluster.kubectl(
            *("-n", namespace, "create", "--dry-run=server", "--validate=strict", "-f", "-"), input=json.dumps(wrong)
        )
