"""The state of a server of one or several workloads, from their objects in the form of the API."""

from __future__ import annotations

import pytest

from deployer.core.manifests.inventory import ListedWorkload
from deployer.core.manifests.manifest import Ref
from deployer.core.stack.model import SERVER
from deployer.targets import Live
from deployer.targets.kubernetes.workloads import SeenWorkload, state_of

MAIN = ListedWorkload(SERVER, Ref("Deployment", "mlflow"))
STORE = ListedWorkload("store", Ref("StatefulSet", "mlflow-store"))


def seen(listed, *, replicas=1, ready=True, ended=False, generation=2):
    count = replicas if ready else 0
    live = {
        "kind": listed.ref.kind,
        "metadata": {"name": listed.ref.name, "uid": f"uid-of-{listed.name}", "generation": generation},
        "spec": {"replicas": replicas},
        "status": {
            "observedGeneration": generation, "replicas": replicas, "updatedReplicas": replicas, "readyReplicas": count,
            "currentRevision": "a", "updateRevision": "a",
        },
    }  # fmt: skip
    return SeenWorkload(listed, live, ended)


def gone(listed):
    return SeenWorkload(listed, None)


def stopped(listed):
    return seen(listed, replicas=0, ended=True)


@pytest.mark.parametrize(
    ("workload", "live"),
    [
        (gone(MAIN), Live("stopped", "there is no Deployment", ready=False)),
        (stopped(MAIN), Live("stopped", "scaled to 0", ready=False)),
        (seen(MAIN, replicas=0), Live("running", "Deployment mlflow", "uid-of-server:2", ready=False)),
        (seen(MAIN, ready=False), Live("running", "Deployment mlflow", "uid-of-server:2", ready=False)),
        (seen(MAIN), Live("running", "Deployment mlflow", "uid-of-server:2", ready=True)),
    ],
)
def test_a_server_of_one_workload_has_the_state_of_its_object(workload, live):
    assert state_of([workload]) == live


@pytest.mark.parametrize(
    ("store", "main", "state", "ready", "detail"),
    [
        (seen(STORE), seen(MAIN), "running", True, "StatefulSet mlflow-store, Deployment mlflow"),
        (seen(STORE, ready=False), seen(MAIN), "running", False, "workload 'store': waiting for its pod to be made"),
        (seen(STORE), seen(MAIN, ready=False), "running", False, "workload 'server': waiting for its pod to be made"),
        (seen(STORE), gone(MAIN), "running", False, "workload 'server': there is no Deployment"),
        (gone(STORE), seen(MAIN), "running", False, "workload 'store': there is no StatefulSet"),
        (seen(STORE), stopped(MAIN), "running", False, "workload 'server': scaled to 0"),
        (stopped(STORE), gone(MAIN), "stopped", False, "there is no Deployment"),
        (gone(STORE), stopped(MAIN), "stopped", False, "scaled to 0"),
    ],
)
def test_a_server_is_ready_if_all_workloads_are_and_stopped_if_none_runs(store, main, state, ready, detail):
    live = state_of([store, main])
    assert (live.state, live.ready, live.detail) == (state, ready, detail)


def test_a_change_of_any_workload_ends_the_proof_of_a_server():
    before = state_of([seen(STORE), seen(MAIN)]).identity
    assert before != state_of([seen(STORE, generation=3), seen(MAIN)]).identity
    assert before != state_of([seen(STORE), seen(MAIN, generation=3)]).identity
    assert before == state_of([seen(STORE), seen(MAIN)]).identity
