"""A server with two workloads on a real cluster: these tests define the second one, which the server needs."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import pytest

from tests.cluster import second_workload
from tests.cluster.second_workload import ALIVE, NAME, PORT
from tests.cluster.test_lifecycle import persisted
from tests.cluster.user import User
from tests.support.machine import kill_group
from tests.testbed.command import CommandFailed, wait_until

CREATE = ("create", "--expose", "none")
POD = f"mlflow-{NAME}-0"  # of a StatefulSet
LONG_WAIT = 12  # failures, after which the StatefulSet controller waits for 40 s (5 ms, twice as long each time)
# ready as soon as a test has created /tmp/ready in the pod; ends at once on SIGTERM
SERVES = f"""
import http.server, os, signal
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        there = self.path == {ALIVE!r} or os.path.exists("/tmp/ready")
        self.send_response(200 if there else 503)
        self.end_headers()
    def log_message(self, *_):
        pass
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("the store serves", flush=True)
http.server.ThreadingHTTPServer(("", {PORT}), Handler).serve_forever()
"""
CRASHES = """
import sys
print("the store finds no disk", flush=True)
sys.exit(3)
"""


@dataclass
class Owner(User):
    """A user whose `deployer` makes servers with a second workload; `store` is the program of that workload."""

    kind: str = "StatefulSet"
    store: str = SERVES

    def command(self, *arguments: str) -> list[str]:
        second = json.dumps([self.kind, ["python3", "-c", self.store]])
        return self.inside([sys.executable, second_workload.__file__, second, *arguments])


@pytest.fixture
def owner(user: User) -> Owner:
    return Owner(**{field.name: getattr(user, field.name) for field in fields(user)})


def find_object(owner: User, kind: str, name: str) -> Any:
    """Return an object, or None."""
    listed = json.loads(owner.kubectl("get", kind, "-o", "json"))["items"]
    return next((item for item in listed if item["metadata"]["name"] == name), None)


def status(owner: Owner) -> Any:
    return owner.json("status", code=None)  # 3 unless the server is ready


def pods(owner: User, workload: str) -> list[Any]:
    labels = f"app.kubernetes.io/component={workload}"
    return json.loads(owner.kubectl("get", "pods", "-l", labels, "-o", "json"))["items"]  # type: ignore[no-any-return]


def store_runs(owner: User) -> bool:
    """Tell whether the store's pod runs the latest revision."""
    workload, pod = find_object(owner, "statefulset", f"mlflow-{NAME}"), find_object(owner, "pod", POD)
    if not workload or not pod or "deletionTimestamp" in pod["metadata"]:
        return False
    latest = (workload.get("status") or {}).get("updateRevision")
    statuses = pod["status"].get("containerStatuses") or [{}]
    running = "running" in statuses[0].get("state", {})
    return running and pod["metadata"]["labels"]["controller-revision-hash"] == latest


def condition(pod: Any, kind: str) -> Any:
    return next(item for item in pod["status"]["conditions"] if item["type"] == kind)


def make_store_ready(owner: User) -> None:
    """Wait until the store's program runs, then make the store ready."""

    def done() -> bool:
        if not store_runs(owner):
            return False
        try:
            owner.kubectl("exec", POD, "--", "touch", "/tmp/ready")
        except CommandFailed:  # the cluster has just replaced the pod
            return False
        return True

    wait_until(done, "the program of the store", 180, pause=0.5)


@contextmanager
def succeeding(owner: Owner, *command: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command while the block runs; afterwards the command must succeed."""
    process = owner.popen(*command)
    try:
        yield process
    except BaseException:
        kill_group(process)
        raise
    owner.ended(process, 0, arguments=command)


@contextmanager
def kept_by_finalizer(owner: User, pod: str) -> Iterator[None]:
    """Keep the object of an ended pod with a finalizer until the block ends."""

    def finalizers(value: str) -> None:
        owner.kubectl("patch", "pod", pod, "--type=merge", "-p", f'{{"metadata":{{"finalizers":{value}}}}}')

    finalizers('["example.org/held"]')
    try:
        yield
    finally:
        finalizers("null")


def start_is_killed_while_the_store_is_not_ready(owner: Owner) -> None:
    process = owner.popen(*CREATE)
    wait_until(lambda: store_runs(owner) or process.poll() is not None, "the store", 180, pause=0.5)
    assert find_object(owner, "deployment", "mlflow") is None  # the server waits
    kill_group(process)
    assert find_object(owner, "deployment", "mlflow") is None
    seen = status(owner)
    assert seen["state"] == "starting"
    assert f"workload '{NAME}': pod {POD} runs, but is not ready yet" in seen["detail"]


def the_same_command_completes_the_start(owner: Owner) -> None:
    with succeeding(owner, *CREATE):
        make_store_ready(owner)
    (server,) = pods(owner, "server")
    assert (
        server["metadata"]["creationTimestamp"]
        >= condition(find_object(owner, "pod", POD), "Ready")["lastTransitionTime"]
    )
    env = {item["name"]: item.get("value") for item in server["spec"]["containers"][0]["env"]}
    assert env["STORE_ADDRESS"] == f"mlflow-{NAME}:{PORT}"
    since = datetime.datetime.now(datetime.UTC)
    assert owner.json(*CREATE)["changed"] is False
    assert persisted(owner.bed.audit(user=owner.name, since=since)) == []


def a_change_that_breaks_the_store_leaves_the_server_alone(owner: Owner) -> None:
    before = find_object(owner, "deployment", "mlflow")["metadata"]["generation"]
    owner.store = CRASHES
    refused = owner.run(*CREATE, code=3).stderr
    assert f"workload '{NAME}' will not become ready: container {NAME} of pod {POD} ended with code 3" in refused
    assert "\n  the store finds no disk\n" in refused
    owner.store = SERVES
    with succeeding(owner, *CREATE):  # a StatefulSet would keep the crashing pod
        make_store_ready(owner)
    assert find_object(owner, "deployment", "mlflow")["metadata"]["generation"] == before


def a_workload_pruned_by_a_killed_create_is_forgotten(owner: Owner) -> None:
    listed = owner.get("configmap", "mlflow-spec")["data"]["inventory"]
    patch = json.dumps({"data": {"inventory": f"{listed}Deployment/mlflow-cache\n"}})
    owner.kubectl("patch", "configmap", "mlflow-spec", "--type=merge", "-p", patch)
    assert "workload 'cache': there is no Deployment" in status(owner)["detail"]
    owner.run(*CREATE)
    assert owner.get("configmap", "mlflow-spec")["data"]["inventory"] == listed
    assert status(owner)["state"] == "ready"
    assert owner.run("diff").returncode == 0


def stop_is_killed_while_the_pod_of_the_server_ends(owner: Owner) -> None:
    (server,) = pods(owner, "server")
    name = server["metadata"]["name"]
    with kept_by_finalizer(owner, name):
        process = owner.popen("stop")
        wait_until(
            lambda: "deletionTimestamp" in find_object(owner, "pod", name)["metadata"], "the end of the server", 90
        )
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(3)
        kill_group(process)
        assert find_object(owner, "statefulset", f"mlflow-{NAME}")["spec"]["replicas"] == 1
        assert "workload 'server'" in status(owner)["detail"]
    owner.run("stop")
    assert pods(owner, "server") == pods(owner, NAME) == []
    seen = status(owner)
    assert (seen["state"], seen["detail"]) == ("stopped", "scaled to 0")


@pytest.mark.timeout(1200)
def test_a_server_starts_after_its_dependency_and_stops_first(owner: Owner) -> None:
    start_is_killed_while_the_store_is_not_ready(owner)
    the_same_command_completes_the_start(owner)
    assert owner.run("logs", "--workload", NAME).stdout == "the store serves\n"
    assert "Application startup complete" in owner.run("logs").stdout
    a_change_that_breaks_the_store_leaves_the_server_alone(owner)
    a_workload_pruned_by_a_killed_create_is_forgotten(owner)
    stop_is_killed_while_the_pod_of_the_server_ends(owner)
    with succeeding(owner, "start"):
        wait_until(lambda: store_runs(owner), "the store", 180, pause=0.5)
        assert pods(owner, "server") == []
        make_store_ready(owner)
    assert status(owner)["proven"] is True
    owner.run("delete", "--delete-data", "--yes")
    assert owner.objects() | owner.objects("statefulset", "controllerrevision") == set()


def test_a_crashing_second_workload_is_named_and_blocks_the_server(owner: Owner) -> None:
    owner.kind, owner.store = "Deployment", CRASHES
    refused = owner.run(*CREATE, code=3).stderr
    assert f"workload '{NAME}' will not become ready: container {NAME} of pod mlflow-{NAME}-" in refused
    assert "ended with code 3\n  the store finds no disk\n" in refused
    assert owner.objects("deployment") == {f"deployment.apps/mlflow-{NAME}"}
    assert f"workload '{NAME}': container {NAME} of" in status(owner)["detail"]
    owner.kind, owner.store = "StatefulSet", SERVES  # the new pod must not run beside the old one
    process = owner.popen(*CREATE)
    wait_until(lambda: store_runs(owner) or process.poll() is not None, "the store", 180, pause=0.5)
    kill_group(process)
    assert owner.objects("deployment", "statefulset") == {f"statefulset.apps/mlflow-{NAME}"}
    owner.run("delete", "--delete-data", "--yes")
    assert owner.objects() | owner.objects("statefulset") == set()


def refusals(owner: Owner) -> int:
    """Return how often the cluster has refused a pod of a StatefulSet."""
    events = json.loads(owner.bed.kubectl("-n", owner.namespace, "get", "events", "-o", "json"))["items"]
    return sum(event.get("count") or 1 for event in events if event["reason"] == "FailedCreate")


def test_a_second_workload_over_quota_is_named_and_retried_at_once(owner: Owner) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"pods": "0"}},
    }
    owner.bed.kubectl("-n", owner.namespace, "apply", "-f", "-", input=json.dumps(quota))
    refused = owner.run(*CREATE, code=3).stderr
    assert (
        f"workload '{NAME}' will not become ready: the cluster refuses the pods of StatefulSet mlflow-{NAME}" in refused
    )
    assert f'pods "{POD}" is forbidden: exceeded quota: small' in refused
    assert "make room in the quota" in refused
    wait_until(lambda: refusals(owner) > LONG_WAIT, "a long wait of the controller", 180)
    owner.bed.kubectl("-n", owner.namespace, "delete", "resourcequota", "small")
    process = owner.popen(*CREATE)
    wait_until(lambda: store_runs(owner) or process.poll() is not None, "the store", 180, pause=0.5)
    kill_group(process)
    assert "tried-again-at" in str(find_object(owner, "statefulset", f"mlflow-{NAME}")["metadata"]["annotations"])
    owner.run("delete", "--delete-data", "--yes")
    assert owner.objects() | owner.objects("statefulset") == set()
