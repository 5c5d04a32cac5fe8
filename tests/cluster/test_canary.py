"""The search for secrets covers a whole namespace: it finds a canary in every kind of object and in logs."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster.pods import pod
from tests.cluster.shown import logs_of_the_node
from tests.cluster.user import User
from tests.support.witness import Witness
from tests.testbed.command import wait_until

CANARY = secrets.token_hex(20)
LOGIN = f"Basic {base64.b64encode(f'admin:{CANARY}'.encode()).decode()}"


@pytest.fixture
def planted(user: User) -> Iterator[User]:
    """A user with one secret, whose witness does not report to the session."""
    user.witness = Witness()
    labels = {"app.kubernetes.io/managed-by": "mlflow-deployer"}
    put(user, "v1", "Secret", "mlflow-admin", labels=labels, stringData={"username": "administrator", "a": CANARY})
    yield user
    user.witness = Witness()  # planted canaries are no leak
    user.namespaces.clear()


def put(user: User, version: str, kind: str, name: str, *, of: dict[str, Any] | None = None, **content: Any) -> None:
    metadata: dict[str, Any] = {"name": name, "namespace": user.namespace, **(of or {})}
    metadata["labels"] = content.pop("labels", {})
    user.bed.apply({"apiVersion": version, "kind": kind, "metadata": metadata, **content})


def annotation(user: User) -> None:
    put(user, "v1", "ConfigMap", "notes", of={"annotations": {"example.org/header": LOGIN}})


def config_map(user: User) -> None:
    put(user, "v1", "ConfigMap", "mlflow-spec", data={"spec": json.dumps({"uri": f"http://a:{CANARY}@host"})})


def event(user: User) -> None:
    about = {"kind": "Pod", "name": "mlflow", "namespace": user.namespace}
    put(user, "v1", "Event", "failed", involvedObject=about, reason="Failed", message=f"cannot use {CANARY}")


def lease(user: User) -> None:
    put(
        user, "coordination.k8s.io/v1", "Lease", "mlflow-lock", spec={"holderIdentity": f"deployer --password {CANARY}"}
    )


def ingress(user: User) -> None:
    rule = {"http": {"paths": []}}
    backend = {"service": {"name": "mlflow", "port": {"number": 80}}}
    rule["http"]["paths"] = [{"path": f"/{CANARY}", "pathType": "Exact", "backend": backend}]
    put(user, "networking.k8s.io/v1", "Ingress", "mlflow", spec={"rules": [rule]})


def deployment(user: User) -> None:
    rendered = pod("mlflow", user.namespace, labels={"app": "canary"})
    rendered["spec"]["containers"][0]["env"] += [{"name": "PASSWORD", "value": CANARY}]
    template = {"metadata": {"labels": {"app": "canary"}}, "spec": rendered["spec"]}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "canary"}}, "template": template}
    put(user, "apps/v1", "Deployment", "mlflow", spec=spec)


def pod_logs(user: User) -> None:
    """Run a container that prints the canary and ends: only the log of its previous instance has the canary."""
    rendered = pod("talks", user.namespace, ["sh", "-c", 'test -e /tmp/b && exec sleep 600; echo "$C"; touch /tmp/b'])
    rendered["spec"]["containers"][0]["env"] += [
        {"name": "C", "valueFrom": {"secretKeyRef": {"name": "mlflow-admin", "key": "a"}}}
    ]
    user.bed.apply(rendered)

    def restarted() -> bool:
        (status,) = user.get("pod", "talks")["status"].get("containerStatuses", [{}])
        return status.get("restartCount") == 1 and "running" in status["state"]

    wait_until(restarted, "the container's second start", 60)


PLACES: dict[str, Callable[[User], None]] = {
    "configmaps of namespace": annotation,
    "configmaps": config_map,
    "events of namespace": event,
    "leases of namespace": lease,
    "ingresses of namespace": ingress,
    "deployments of namespace": deployment,
    "pods/talks/log?container=main&previous=true": pod_logs,
}


def test_a_canary_is_found_in_each_place(planted: User) -> None:
    planted.look()
    assert planted.witness.findings() == []
    for plant in PLACES.values():
        plant(planted)
    planted.look()
    found = list(map(str, planted.witness.findings()))
    assert CANARY not in "".join(found)
    assert all(line.startswith(f"a of {planted.namespace}/mlflow-admin is in ") for line in found)
    assert {place: any(place in line for line in found) for place in PLACES} == dict.fromkeys(PLACES, True)
    # the annotation holds the canary in base64; other objects and managedFields hold it as it is
    assert {line.partition(", ")[2].partition(",")[0] for line in found} == {"raw", "base64 after 0 bytes"}


def test_a_canary_in_the_node_s_logs_is_found(planted: User) -> None:
    planted.look()
    planted.kubectl("get", "configmaps", f"--field-selector=metadata.name={CANARY}")
    for where, content in logs_of_the_node(planted.bed):
        planted.witness.examine(content, where)
    assert ["the node's audit.log" in str(found) for found in planted.witness.findings()] == [True]
