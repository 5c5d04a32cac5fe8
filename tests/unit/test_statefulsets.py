"""When a StatefulSet is ready, and why not, from the fields of a real API server (apps/v1)."""

from __future__ import annotations

import pytest

from deployer.cli import remedies
from deployer.core.status.readiness import Readiness, Snapshot, outdated, readiness

READY = {
    "observedGeneration": 3,
    "replicas": 1,
    "readyReplicas": 1,
    "availableReplicas": 1,
    "currentReplicas": 1,
    "updatedReplicas": 1,
    "currentRevision": "mlflow-store-7f",
    "updateRevision": "mlflow-store-7f",
}
ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
QUOTA = (
    'Create Pod mlflow-store-0 in StatefulSet mlflow-store failed error: pods "mlflow-store-0" is forbidden: exceeded '
    "quota: small, requested: pods=1, used: pods=0, limited: pods=0"
)


def statefulset(strategy=ROLLING, wanted=1, **status):
    """Return a ready StatefulSet with these fields of the status; None removes a field."""
    found = {key: value for key, value in {**READY, **status}.items() if value is not None}
    return {
        "kind": "StatefulSet",
        "metadata": {"name": "mlflow-store", "generation": 3},
        "spec": {"replicas": wanted, "updateStrategy": strategy},
        "status": found,
    }


# the controller has seen the new revision, and has not replaced the pod yet
ROLLS = statefulset(updatedReplicas=None, updateRevision="mlflow-store-9c")


def pod(revision="mlflow-store-7f", *, ready=False, **metadata):
    state = {"running": {}} if ready else {"waiting": {"reason": "CrashLoopBackOff"}}
    ended = {"terminated": {"exitCode": 3}}
    container = {"name": "store", "image": "a", "ready": ready, "restartCount": 4, "state": state, "lastState": ended}
    return {
        "metadata": {
            "name": "mlflow-store-0",
            "creationTimestamp": "2026-11-21T12:00:00Z",
            "labels": {"controller-revision-hash": revision},
            **metadata,
        },
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [container],
        },
    }


ENDING = {"deletionTimestamp": "2026-11-21T12:01:00Z"}


@pytest.mark.parametrize(
    ("changes", "ready"),
    [
        ({}, True),
        ({"observedGeneration": 2}, False),
        ({"observedGeneration": None}, False),
        ({"readyReplicas": 0}, False),
        ({"readyReplicas": None}, False),
        ({"replicas": 2}, False),
        ({"replicas": None}, False),
        ({"updatedReplicas": None, "updateRevision": "mlflow-store-9c"}, False),
        ({"currentReplicas": None, "updateRevision": "mlflow-store-9c"}, False),
        ({"currentRevision": None, "updateRevision": None}, False),
        ({"replicas": 0, "readyReplicas": 0, "updatedReplicas": 0}, False),
    ],
)
def test_a_statefulset_is_ready_when_all_pods_of_its_latest_revision_are(changes, ready):
    state = readiness(Snapshot(statefulset(**changes)))
    assert state.ready == ready
    assert (state.reason == "StatefulSet mlflow-store has 1 ready") == ready


@pytest.mark.parametrize(
    ("strategy", "changes", "ready"),
    [
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, {"updatedReplicas": 1}, True),
        ({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}, {"updatedReplicas": 0}, False),
        ({"type": "OnDelete"}, {"updatedReplicas": 2}, True),
        ({"type": "OnDelete"}, {"updatedReplicas": 1}, False),
        ({}, {"updatedReplicas": 2}, False),
    ],
)
def test_revisions_may_differ_where_a_patch_holds_pods_back(strategy, changes, ready):
    status = {"replicas": 2, "readyReplicas": 2, "updateRevision": "mlflow-store-9c", **changes}
    assert readiness(Snapshot(statefulset(strategy, wanted=2, **status))).ready == ready


CASES = {
    # name: the observed objects, words of the reason, stuck, word of the hint (None: no hint)
    "not looked at": (
        Snapshot(statefulset(observedGeneration=2)), "not looked at StatefulSet mlflow-store", False, None,
    ),
    "scaled to 0": (Snapshot(statefulset(wanted=0)), "StatefulSet mlflow-store is scaled to 0", False, None),
    "no pod made yet": (Snapshot(statefulset(readyReplicas=0)), "waiting for its pod to be made", False, None),
    "no room in the quota": (
        Snapshot(
            statefulset(readyReplicas=0, currentReplicas=0),
            events=[{"reason": "FailedCreate", "involvedObject": {"name": "mlflow-store"}, "message": QUOTA}],
        ),
        "refuses the pods of StatefulSet mlflow-store: Create Pod mlflow-store-0", True, "quota",
    ),
    "a refusal that is over": (
        Snapshot(
            statefulset(readyReplicas=0),
            [pod(**ENDING)],
            events=[{"reason": "FailedCreate", "involvedObject": {"name": "mlflow-store"}, "message": QUOTA}],
        ),
        "waiting for pod mlflow-store-0 to end", False, None,
    ),
    "a refusal of another": (
        Snapshot(
            statefulset(readyReplicas=0),
            events=[{"reason": "FailedCreate", "involvedObject": {"name": "mlflow-7d"}, "message": QUOTA}],
        ),
        "waiting for its pod to be made", False, None,
    ),
    "crashes": (
        Snapshot(statefulset(readyReplicas=0), [pod()]),
        "container store of pod mlflow-store-0 ended with code 3", True, None,
    ),
    "a pod without a revision": (
        Snapshot(statefulset(readyReplicas=0), [pod(labels={})]), "ended with code 3", True, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_reason_why_a_statefulset_is_not_ready_is_named(case):
    seen, words, stuck, hint = CASES[case]
    state = readiness(seen)
    assert not state.ready
    assert words in state.reason
    assert state.stuck == stuck
    assert (hint or "") in remedies.words(state.hint or "")


def test_a_pod_of_an_earlier_revision_says_nothing_about_the_latest():
    for old in (pod(), pod(ready=True)):
        state = readiness(Snapshot(ROLLS, [old]))
        assert state == Readiness(False, "pod mlflow-store-0 still has to be replaced")


def test_a_broken_pod_of_an_earlier_revision_has_to_be_deleted():
    assert outdated(ROLLS, [pod()]) == [pod()]


@pytest.mark.parametrize(
    ("workload", "found"),
    [
        (ROLLS, pod("mlflow-store-9c")),  # the latest revision
        (ROLLS, pod(ready=True)),  # the controller replaces it
        (ROLLS, pod(**ENDING)),
        (ROLLS, pod(labels={})),
        (statefulset(updateRevision="mlflow-store-9c", observedGeneration=2), pod()),  # the status is outdated
        (statefulset({"type": "OnDelete"}, updateRevision="mlflow-store-9c"), pod()),
        (statefulset({"rollingUpdate": {"partition": 1}}, updateRevision="mlflow-store-9c"), pod()),
        ({**ROLLS, "kind": "Deployment"}, pod()),  # a Deployment replaces its pods itself
    ],
)
def test_no_other_pod_is_deleted(workload, found):
    assert outdated(workload, [found]) == []
