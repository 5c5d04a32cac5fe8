"""Reads everything in a namespace except Secrets: all other objects, and the logs of the pods."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from tests.testbed.api import Api, api_at
from tests.testbed.cluster import Cluster
from tests.testbed.provider import Unsupported

OURS = "app.kubernetes.io%2Fmanaged-by%3Dmlflow-deployer"
KINDS = {
    "api/v1": (
        "configmaps", "events", "pods", "persistentvolumeclaims", "services", "endpoints", "serviceaccounts",
        "replicationcontrollers", "limitranges", "resourcequotas",
    ),
    "apis/apps/v1": ("deployments", "replicasets", "statefulsets", "daemonsets", "controllerrevisions"),
    "apis/batch/v1": ("jobs", "cronjobs"),
    "apis/coordination.k8s.io/v1": ("leases",),
    "apis/discovery.k8s.io/v1": ("endpointslices",),
    "apis/gateway.networking.k8s.io/v1": ("httproutes",),
    "apis/networking.k8s.io/v1": ("ingresses", "networkpolicies"),
    "apis/policy/v1": ("poddisruptionbudgets",),
    "apis/rbac.authorization.k8s.io/v1": ("roles", "rolebindings"),
    "apis/route.openshift.io/v1": ("routes",),
}  # fmt: skip


def secrets(cluster: Cluster, namespace: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name and the decoded values of each Secret that deployer manages."""
    found = api_at(cluster.admin_kubeconfig).get(f"api/v1/namespaces/{namespace}/secrets?labelSelector={OURS}")
    for item in json.loads(found or b'{"items": []}')["items"]:
        data = item.get("data") or {}
        yield item["metadata"]["name"], {key: base64.b64decode(text).decode() for key, text in data.items()}


def shown(cluster: Cluster, namespace: str) -> Iterator[tuple[str, bytes]]:
    """Yield texts to search, each with a name: the lists of all kinds, and the logs of all containers."""
    api = api_at(cluster.admin_kubeconfig)
    pods: list[dict[str, Any]] = []
    for group, kinds in KINDS.items():
        for kind in kinds:
            if content := api.get(f"{group}/namespaces/{namespace}/{kind}"):
                yield f"{kind} of namespace {namespace}", content
                if kind == "pods":
                    pods = json.loads(content)["items"]
    for pod in pods:
        for container in pod["status"].get("containerStatuses") or ():
            yield from _logs(api, f"namespaces/{namespace}/pods/{pod['metadata']['name']}/log", container)


def _logs(api: Api, path: str, container: dict[str, Any]) -> Iterator[tuple[str, bytes]]:
    state = container["state"]
    asked = {"false": "running" in state or "terminated" in state, "true": container["restartCount"] > 0}
    for previous in (answer for answer, there in asked.items() if there):
        log = f"{path}?container={container['name']}&previous={previous}"
        answer = api.get(f"api/v1/{log}")
        yield f"the log {log}", answer or b""


def logs_of_the_node(cluster: Cluster) -> Iterator[tuple[str, bytes]]:
    """Yield the API server's audit log and the logs of the node's services, if the cluster runs on this machine."""
    try:
        audit = cluster.audit_log
    except Unsupported:
        return
    for path in (audit, *sorted((audit.parent / "log").glob("*"))):
        if path.is_file():
            yield f"the node's {path.name}", path.read_bytes()
