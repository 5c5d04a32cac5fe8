"""Pods and PersistentVolumeClaims for tests; the pods satisfy Pod Security `restricted` and end at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.testbed.cluster import Cluster
from tests.testbed.images import BASE

USER = 1000660000  # no image has this user
RESTRICTED = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
SLEEP = ("sleep", "infinity")


def pod(
    name: str,
    namespace: str,
    command: Sequence[str] = SLEEP,
    *,
    image: str = BASE,
    labels: Mapping[str, str] | None = None,
    claim: str | None = None,
    ports: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return a pod with a writable /tmp, and with a volume at /data if `claim` is given."""
    mounts = [{"name": "temporary", "mountPath": "/tmp"}]
    volumes: list[dict[str, Any]] = [{"name": "temporary", "emptyDir": {}}]
    if claim:
        mounts.append({"name": "data", "mountPath": "/data"})
        volumes.append({"name": "data", "persistentVolumeClaim": {"claimName": claim}})
    container = {
        "name": "main",
        "image": image,
        "command": list(command),
        "env": [{"name": "HOME", "value": "/tmp"}],
        "ports": list(ports),
        "securityContext": CONTAINER,
        "volumeMounts": mounts,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels or {})},
        "spec": {
            "securityContext": {**RESTRICTED, "fsGroup": USER},
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
            "containers": [container],
            "volumes": volumes,
        },
    }


def bare(name: str, namespace: str, *command: str, **container: Any) -> dict[str, Any]:
    """Return a pod without security context or resources, with its name as label `app`."""
    main = {"name": "main", "image": BASE, "command": list(command or SLEEP), **container}
    spec = {"containers": [main], "terminationGracePeriodSeconds": 0}
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def claim(namespace: str, size: str, mode: str = "ReadWriteOnce") -> dict[str, Any]:
    """Return a PersistentVolumeClaim named `data`, of the default storage class."""
    spec = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
    metadata = {"name": "data", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def web(name: str, namespace: str, port: int = 8080, labels: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """Return a pod that serves files on a port named `web`, and its Service on port 80."""
    command = ["python3", "-m", "http.server", "--directory", "/tmp", str(port)]
    serving = pod(
        name, namespace, command, labels={"app": name, **(labels or {})}, ports=[{"name": "web", "containerPort": port}]
    )
    probe = {"httpGet": {"path": "/", "port": port}, "periodSeconds": 1}
    serving["spec"]["containers"][0]["readinessProbe"] = probe
    spec = {"selector": {"app": name}, "ports": [{"name": "web", "port": 80, "targetPort": "web"}]}
    metadata = {"name": name, "namespace": namespace}
    return [serving, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}]


def ready(cluster: Cluster, namespace: str, *names: str, seconds: int = 90) -> None:
    named = [f"pod/{name}" for name in names] or ["pods", "--all"]
    cluster.kubectl("wait", "--for=condition=Ready", *named, f"--namespace={namespace}", f"--timeout={seconds}s")


def run_in(cluster: Cluster, namespace: str, name: str, *command: str) -> str:
    return cluster.kubectl("exec", name, f"--namespace={namespace}", "--", *command)
