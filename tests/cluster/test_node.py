"""The node is a real one: version, users that expire, audit log, Pod Security, services that can be killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cluster.pods import pod, ready
from tests.testbed.cluster import Cluster
from tests.testbed.command import CommandFailed, wait_until
from tests.testbed.programs import KUBERNETES


def test_the_node_is_ready_and_reports_its_version(cluster: Cluster) -> None:
    node = json.loads(cluster.kubectl("get", "node", "node", "--output=json"))
    assert node["status"]["nodeInfo"]["kubeletVersion"] == f"v{KUBERNETES}"
    assert {item["type"]: item["status"] for item in node["status"]["conditions"]}["Ready"] == "True"


def test_up_returns_the_running_cluster(cluster: Cluster) -> None:
    assert Cluster.up(cluster.audit_log.parent) == cluster


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("kubectl", "--", "get", "nodes", "--output=name"), "node/node\n"), (("openshift", "--hide"), "")],
)
def test_commands_from_another_home_use_the_programs_of_the_running_cluster(
    cluster: Cluster, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    """A new HOME has an empty cache, and without PATH no build is possible."""
    directory = ("--directory", str(cluster.audit_log.parent))
    done = subprocess.run(
        [sys.executable, "-m", "tests.testbed", *directory, *arguments],
        env={"HOME": str(tmp_path), "PATH": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, said), done.stderr
    assert not list(tmp_path.glob(".cache/*/*-*")), "nothing was built"


def test_restricted_refuses_a_pod_that_runs_as_root(cluster: Cluster, namespace: str) -> None:
    rooted = pod("rooted", namespace)
    rooted["spec"]["securityContext"]["runAsNonRoot"] = False
    rooted["spec"]["securityContext"]["runAsUser"] = 0
    with pytest.raises(CommandFailed, match='violates PodSecurity "restricted:latest"'):
        cluster.apply(rooted)


def test_a_user_has_rights_in_one_namespace_only(cluster: Cluster, namespace: str) -> None:
    kubeconfig = cluster.user("ada", namespace)

    def may(*question: str) -> bool:
        try:
            return cluster.kubectl("auth", "can-i", *question, f"--kubeconfig={kubeconfig}").strip() == "yes"
        except CommandFailed:
            return False

    assert may("create", "deployments")
    assert may("create", "httproutes.gateway.networking.k8s.io")
    assert not may("create", "deployments", "--namespace=default")
    assert not may("create", "namespaces")


def test_a_user_with_rules_has_exactly_these_rights(cluster: Cluster, namespace: str) -> None:
    kubeconfig = cluster.user("bea", namespace, rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}])
    cluster.kubectl("get", "pods", f"--kubeconfig={kubeconfig}")
    with pytest.raises(CommandFailed, match="cannot list resource"):
        cluster.kubectl("get", "secrets", f"--kubeconfig={kubeconfig}")


def test_a_user_is_refused_once_the_certificate_has_expired(cluster: Cluster, namespace: str) -> None:
    kubeconfig = cluster.user("eve", namespace, seconds=5)
    began = time.monotonic()
    cluster.kubectl("get", "pods", f"--kubeconfig={kubeconfig}")
    time.sleep(max(0, 6 - (time.monotonic() - began)))
    with pytest.raises(CommandFailed, match=r"(?i)unauthorized|must be logged in|asked for the client to provide cred"):
        cluster.kubectl("get", "pods", f"--kubeconfig={kubeconfig}")


def test_the_audit_log_names_the_user_of_each_request(cluster: Cluster, namespace: str) -> None:
    kubeconfig = cluster.user("cleo", namespace)
    began = datetime.now(UTC)
    cluster.kubectl("create", "configmap", "one", "--dry-run=server", f"--kubeconfig={kubeconfig}")
    cluster.kubectl("create", "configmap", "one", f"--kubeconfig={kubeconfig}")
    events = [event for event in cluster.audit(user="cleo", since=began) if event["verb"] == "create"]
    assert ["dryRun=All" in event["requestURI"] for event in events] == [True, False]
    assert {(event["objectRef"]["resource"], event["objectRef"]["namespace"]) for event in events} == {
        ("configmaps", namespace)
    }
    assert {event["stage"] for event in events} == {"ResponseComplete"}


def test_the_memory_of_a_pod_is_the_sum_of_its_processes(cluster: Cluster, namespace: str) -> None:
    filled = (
        "held = bytearray(64 * 2**20)\nfor i in range(0, len(held), 4096): held[i] = 1\nimport time; time.sleep(600)"
    )
    cluster.apply(pod("filled", namespace, ["python3", "-c", filled]))
    ready(cluster, namespace, "filled")
    wait_until(lambda: 64 < cluster.pss_mib("filled", namespace) < 90, "64 MiB in the pod", 10)


@pytest.mark.parametrize("service", ["apiserver", "etcd"])
def test_a_killed_service_works_again_after_a_start(cluster: Cluster, service: str) -> None:
    cluster.kill(service)
    with pytest.raises(CommandFailed):
        cluster.kubectl("get", "nodes", "--request-timeout=2s")
    cluster.start(service)

    def answers() -> bool:
        try:
            return "node" in cluster.kubectl("get", "nodes", "--request-timeout=2s")
        except CommandFailed:
            return False

    wait_until(answers, f"the API after {service} was started again", 60)
