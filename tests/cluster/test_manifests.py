"""The API server validates the manifests of every profile, exposure and shape strictly, by dry run."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.support.manifest_cases import CASES, objects
from tests.testbed import programs
from tests.testbed.cluster import Cluster
from tests.testbed.command import CommandFailed


@pytest.fixture(scope="module", autouse=True)
def routes(cluster: Cluster) -> Iterator[None]:
    """Install the definition of OpenShift's Route; remove it afterwards: with it the cluster looks like OpenShift."""
    folder = str(programs.definitions("route"))
    cluster.kubectl("apply", "--server-side", "-f", folder)
    cluster.kubectl("wait", "--for=condition=established", "-f", folder, "--timeout=30s")
    await_served(cluster)
    yield
    cluster.kubectl("delete", "-f", folder)


def await_served(cluster: Cluster) -> None:
    """Wait until the API server accepts Routes, which on a busy machine takes seconds after the definition."""
    to = {"kind": "Service", "name": "a"}
    route = {"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "a"}, "spec": {"to": to}}
    deadline = time.monotonic() + 120
    while True:
        try:
            cluster.kubectl(*("-n", "default", "create", "--dry-run=server", "-f", "-"), input=json.dumps(route))
            return
        except CommandFailed:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


@pytest.fixture(scope="module")
def empty(cluster: Cluster) -> Iterator[str]:
    """A namespace that stays empty: these tests only request dry runs."""
    with cluster.namespace() as name:
        yield name


@pytest.mark.parametrize("case", CASES)
def test_the_api_server_strictly_accepts_every_rendered_manifest(cluster: Cluster, empty: str, case: str) -> None:
    manifests = objects(case)
    listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    accepted = cluster.kubectl(
        *("-n", empty, "create", "--dry-run=server", "--validate=strict", "-o", "name", "-f", "-"), input=listed
    )
    assert len(accepted.split()) == len(manifests)


def test_an_unknown_field_is_refused(cluster: Cluster, empty: str) -> None:
    wrong = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"prots": []}}
    with pytest.raises(CommandFailed, match="prots"):
        cluster.kubectl(
            *("-n", empty, "create", "--dry-run=server", "--validate=strict", "-f", "-"), input=json.dumps(wrong)
        )
