"""Why a server is not ready, read from objects in the form of the API."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.cli import remedies
from deployer.core.status.readiness import Readiness, Snapshot, pod_readiness, readiness

from .strategies import hostile

DEPLOYMENT = {
    "metadata": {"name": "mlflow", "generation": 2},
    "spec": {"replicas": 1},
    "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1},
}
READY = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
SERVER = {
    "name": "server",
    "image": "ghcr.io/mlflow/mlflow:v3.17.2-full",
    "ready": False,
    "restartCount": 0,
    "state": {"waiting": {"reason": "ContainerCreating"}},
    "lastState": {},
}
POD = {
    "metadata": {"name": "mlflow-7d-abc", "creationTimestamp": "2026-11-21T12:00:00Z"},
    "status": {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "True"}],
        "containerStatuses": [SERVER],
    },
}
CLAIM = {
    "metadata": {"name": "mlflow-data"},
    "spec": {"storageClassName": "fast"},
    "status": {"phase": "Pending"},
}
RUNNING = {"running": {"startedAt": "2026-11-21T12:00:10Z"}}
DONE = {**SERVER, "name": "init", "ready": True, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
BOUND = {**CLAIM, "status": {"phase": "Bound"}}
UNBOUND = (
    "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3 nodes are available: 3 "
    "Preemption is not helpful for scheduling."
)
NO_CPU = "0/3 nodes are available: 3 Insufficient cpu. preemption: No preemption victims found for incoming pod."


def deployment(**status):
    return {**DEPLOYMENT, "status": {**DEPLOYMENT["status"], **status}}


def failing(message):
    return deployment(
        replicas=0,
        updatedReplicas=0,
        conditions=[
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated", "message": "made"},
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message},
        ],
    )


def pod(name="mlflow-7d-abc", created="2026-11-21T12:00:00Z", deleted=None, **status):
    made = copy.deepcopy(POD)
    made["metadata"] |= {"name": name, "creationTimestamp": created}
    if deleted:
        made["metadata"]["deletionTimestamp"] = deleted
    made["status"] |= status
    return made


def container(**fields):
    return pod(containerStatuses=[{**SERVER, **fields}])


def waiting(reason, message="", **fields):
    return container(state={"waiting": {"reason": reason, "message": message}}, **fields)


def ended(code, reason="Error", restarts=0, back_off=False):
    terminated = {"terminated": {"exitCode": code, "reason": reason}}
    if back_off:
        why = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
        return container(state=why, lastState=terminated, restartCount=restarts)
    return container(state=terminated, restartCount=restarts)


def unscheduled(message):
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return pod(conditions=[condition], containerStatuses=[])


def event(about, reason, message, at="2026-11-21T12:00:05Z", **fields):
    return {"involvedObject": {"name": about}, "reason": reason, "message": message, "lastTimestamp": at, **fields}


def seen(*pods, claims=(BOUND,), events=(), of=DEPLOYMENT):
    return Snapshot(of, pods, claims, events)


def root(message, **spec):
    return {**waiting("CreateContainerConfigError", message), "spec": spec}


AS_ROOT = "container has runAsNonRoot and image will run as root (pod: mlflow, container: server)"
NO_NUMBER = "container has runAsNonRoot and image has non-numeric user (mlflow), cannot verify user is non-root"
MOUNT = event("mlflow-7d-abc", "FailedMount", 'MountVolume.SetUp failed for volume "files": configmap "ca" not found')
NO_CLASS = {**CLAIM, "spec": {}}
CASES = {
    # name: the observed objects, words of the reason, stuck, word of the hint (None: no hint), crashed container
    "nothing applied yet": (Snapshot(None), "the Deployment is not there", False, None, None),
    "not looked at": (
        seen(of={**deployment(**READY), "metadata": {"name": "mlflow", "generation": 3}}),
        "has not looked at Deployment mlflow yet", False, None, None,
    ),
    "no status at all": (
        seen(of={"metadata": {"name": "mlflow", "generation": 1}, "spec": {}}),
        "has not looked at Deployment mlflow yet", False, None, None,
    ),
    "scaled to 0": (seen(of={**DEPLOYMENT, "spec": {"replicas": 0}}), "is scaled to 0", False, None, None),
    "no pod made yet": (seen(), "waiting for its pod to be made", False, None, None),
    "old pod ends": (seen(pod("old", deleted="2026-11-21T12:00:30Z")), "waiting for pod old to end", False, None, None),
    "the ready pod is the old one": (
        seen(waiting("ContainerCreating"), of=deployment(readyReplicas=1, replicas=2)),
        "pod mlflow-7d-abc is being started", False, None, None,
    ),
    "not updated yet": (
        seen(waiting("ContainerCreating"), of=deployment(**{**READY, "updatedReplicas": 0})),
        "pod mlflow-7d-abc is being started", False, None, None,
    ),
    "quota": (
        seen(of=failing('pods "mlflow-7d-" is forbidden: exceeded quota: compute, requested: limits.memory=1Gi')),
        "refuses the pods of Deployment mlflow: pods", True, "quota", None,
    ),
    "PodSecurity": (
        seen(of=failing('pods "mlflow-7d-" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot')),
        "violates PodSecurity", True, "PodSecurity", None,
    ),
    "a webhook": (seen(of=failing('admission webhook "a" denied the request')), "denied the", True, "quota", None),
    "no node": (seen(unscheduled(NO_CPU)), f"no node takes pod mlflow-7d-abc: {NO_CPU}", True, "lower the sizes", None),
    "no default storage class": (
        seen(unscheduled(UNBOUND), claims=[NO_CLASS]),
        "volume mlflow-data gets no storage: the cluster has no default storage class", True, "--storage-class", None,
    ),
    "a storage class that is not there": (
        seen(
            unscheduled(UNBOUND), claims=[CLAIM],
            events=[event("mlflow-data", "ProvisioningFailed", 'storageclass.storage.k8s.io "fast" not found')],
        ),
        "of storage class 'fast' cannot be made: storageclass.storage", True, "--storage-class", None,
    ),
    "unbound, and nobody says why": (
        seen(unscheduled(UNBOUND), claims=[BOUND, CLAIM]), "is not bound: 0/3 nodes", False, "storage class", None,
    ),
    "waits for its first consumer": (
        seen(
            unscheduled(NO_CPU), claims=[CLAIM],
            events=[event("mlflow-data", "WaitForFirstConsumer", "waiting for first consumer to be created")],
        ),
        "no node takes pod", True, "lower the sizes", None,
    ),
    "evicted": (
        seen(pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory.")),
        "pod mlflow-7d-abc has failed: Evicted The node was low", False, None, None,
    ),
    "no container yet": (seen(pod(containerStatuses=None)), "is being started", False, None, None),
    "being created": (seen(waiting("ContainerCreating")), "is being started", False, None, None),
    "image not there": (
        seen(waiting("ErrImagePull", 'rpc error: code = NotFound desc = failed to resolve reference "a": not found')),
        "the image ghcr.io/mlflow/mlflow:v3.17.2-full cannot be pulled (ErrImagePull)", True, "spec.mlflow.image", None,
    ),
    "image not there, to CRI-O": (
        seen(waiting("ImagePullBackOff", "reading manifest v9 in ghcr.io/mlflow/mlflow: manifest unknown")),
        "cannot be pulled (ImagePullBackOff)", True, "imageMirrors", None,
    ),
    "image is private": (
        seen(waiting("ErrImagePull", "failed to fetch anonymous token: unexpected status: 401 Unauthorized")),
        "401 Unauthorized", True, "imagePullSecrets", None,
    ),
    "image is private, to ghcr.io": (
        seen(waiting("ErrImagePull", "unexpected status from GET request to https://ghcr.io/token: 403 Forbidden")),
        "403 Forbidden", True, "imagePullSecrets", None,
    ),
    "image has no name": (
        seen(waiting("InvalidImageName", 'couldn\'t parse image reference "A:b:c"')),
        "cannot be pulled (InvalidImageName)", True, "is its name right", None,
    ),
    "too many pulls": (
        seen(waiting("ErrImagePull", "429 Too Many Requests - toomanyrequests: You have reached your pull rate limit")),
        "429 Too Many Requests", False, "spec.mlflow.image", None,
    ),
    "registry too slow": (
        seen(waiting("ErrImagePull", "dial tcp 140.82.121.34:443: i/o timeout")), "i/o timeout", False, "image", None,
    ),
    "backs off from pulling": (
        seen(waiting("ImagePullBackOff", 'Back-off pulling image "a"')), "Back-off pulling image", False, "image", None,
    ),
    "no user where the platform gives none": (
        seen(root(AS_ROOT, securityContext={"runAsNonRoot": True}, containers=[{"name": "server"}])),
        "the profile is OpenShift's and leaves the user to the cluster, but this namespace has no UID range",
        True, "--profile kubernetes", None,
    ),
    "a named user where no range gives a number": (
        seen(root(NO_NUMBER)), "this namespace has no UID range", True, "--profile kubernetes", None,
    ),
    "a user of a patch that is root": (
        seen(root(AS_ROOT, securityContext={"runAsUser": 0})), "image will run as root", True, "does a patch", None,
    ),
    "a user of one container's": (
        seen(root(AS_ROOT, containers=[{"name": "server", "securityContext": {"runAsUser": 0}}])),
        "image will run as root", True, "does a patch", None,
    ),
    "a secret that is not there": (
        seen(waiting("CreateContainerConfigError", 'secret "mlflow-admin" not found')),
        'container server of pod mlflow-7d-abc cannot be made: secret "mlflow-admin" not found', True, "a patch", None,
    ),
    "an init container fails": (
        seen(pod(initContainerStatuses=[{**SERVER, "name": "init", "state": {"terminated": {"exitCode": 2}}}])),
        "container init of pod mlflow-7d-abc ended with code 2", False, None, "init",
    ),
    "an init container has done its work": (
        seen(pod(initContainerStatuses=[DONE])), "is being started", False, None, None,
    ),
    "refused to start": (seen(ended(78)), "ended with code 78", True, None, "server"),
    "refused to start, backs off": (
        seen(ended(78, restarts=1, back_off=True)), "ended with code 78", True, None, "server",
    ),
    "crashed once": (seen(ended(1)), "ended with code 1", False, None, "server"),
    "crashed once, backs off": (seen(ended(1, restarts=1, back_off=True)), "ended with code 1", False, None, "server"),
    "crashes again and again": (seen(ended(1, restarts=2, back_off=True)), "ended with code 1", True, None, "server"),
    "ends as if all were well": (seen(ended(0, "Completed")), "ended with code 0", False, None, "server"),
    "needs more memory": (seen(ended(137, "OOMKilled")), "was killed: it needs more memory", False, "raise", None),
    "needs more memory again and again": (
        seen(ended(137, "OOMKilled", restarts=2, back_off=True)), "it needs more memory", True, "raise", None,
    ),
    "a mount fails": (
        seen(waiting("ContainerCreating"), events=[MOUNT]),
        "pod mlflow-7d-abc cannot start yet: MountVolume.SetUp failed", False, None, None,
    ),
    "a mount failed before it ran": (
        seen(container(state=RUNNING), events=[MOUNT]), "runs, but is not ready yet", False, None, None,
    ),
    "a mount of another pod fails": (
        seen(waiting("ContainerCreating"), events=[{**MOUNT, "involvedObject": {"name": "other"}}]),
        "is being started", False, None, None,
    ),
    "runs again after a crash": (
        seen(container(state=RUNNING, lastState={"terminated": {"exitCode": 1}}, restartCount=1)),
        "runs, but is not ready yet", False, None, None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_reason_why_a_server_is_not_ready_is_named(case):
    objects, words, stuck, hint, crashed = CASES[case]
    state = readiness(objects)
    assert not state.ready
    assert words in state.reason
    assert (state.stuck, state.crashed) == (stuck, crashed)
    assert (state.hint is None) == (hint is None)
    assert (hint or "") in remedies.words(state.hint or "")


@pytest.mark.parametrize("spec", [{}, {"replicas": 1}])
def test_a_deployment_with_all_its_pods_updated_and_ready_is_ready(spec):
    state = readiness(Snapshot({**DEPLOYMENT, "spec": spec, "status": READY}))
    assert state == Readiness(True, "Deployment mlflow has 1 ready")


@pytest.mark.parametrize("missing", ["observedGeneration", "replicas", "updatedReplicas", "readyReplicas"])
def test_a_status_without_a_required_field_is_not_ready(missing):
    status = {key: value for key, value in READY.items() if key != missing}
    assert not readiness(Snapshot({**DEPLOYMENT, "status": status})).ready


def test_the_newest_living_pod_is_reported():
    pods = [
        pod("first", "2026-11-21T12:00:00Z"),
        pod("second", "2026-11-21T12:00:02Z"),
        pod("gone", "2026-11-21T12:00:09Z", deleted="2026-11-21T12:00:10Z"),
    ]
    assert "pod second" in readiness(seen(*pods)).reason


def test_a_failing_pod_is_reported_while_the_old_pod_ends():
    state = readiness(seen(pod("old", deleted="2026-11-21T12:00:30Z"), waiting("InvalidImageName")))
    assert "cannot be pulled" in state.reason


@pytest.mark.parametrize("turned", [False, True])
def test_the_newest_event_is_reported_for_each_kind_of_timestamp(turned):
    events = [
        event("mlflow-7d-abc", "FailedMount", "older", at="2026-11-21T12:00:01Z"),
        event("mlflow-7d-abc", "FailedMount", "newest", at=None, eventTime="2026-11-21T12:00:09.000001Z"),
        event("mlflow-7d-abc", "FailedMount", "timeless", at=None),
        event("mlflow-7d-abc", "Pulled", "another thing", at="2026-11-21T12:00:30Z"),
    ]
    state = readiness(seen(waiting("ContainerCreating"), events=events[::-1] if turned else events))
    assert state.reason.endswith(": newest")


def test_a_volume_that_is_bound_is_not_blamed():
    assert "no node takes" in pod_readiness(unscheduled(UNBOUND), [BOUND], []).reason


@given(hostile, st.sampled_from(["ErrImagePull", "CreateContainerConfigError", "CrashLoopBackOff", "Any"]))
def test_any_text_of_a_cluster_becomes_one_printable_line(text, reason):
    for objects in (
        seen(waiting(reason, text)),
        seen(unscheduled(text)),
        seen(unscheduled(text), claims=[CLAIM], events=[event("mlflow-data", "ProvisioningFailed", text)]),
        seen(waiting("ContainerCreating"), events=[event("mlflow-7d-abc", "FailedMount", text)]),
        seen(pod(phase="Failed", reason=text, message=text)),
        seen(of=failing(text)),
    ):
        assert readiness(objects).reason.isprintable()


@pytest.mark.parametrize("case", CASES)
def test_objects_that_may_not_be_read_only_shorten_the_diagnosis(case):
    objects = CASES[case][0]
    assert not readiness(Snapshot(objects.workload)).ready
    assert readiness(Snapshot(objects.workload, objects.pods)).reason


def test_a_paused_deployment_is_stuck_and_its_hint_says_how_to_resume():
    state = readiness(Snapshot({"metadata": {"name": "mlflow"}, "spec": {"replicas": 1, "paused": True}}))
    assert (state.stuck, "rollout resume" in remedies.words(state.hint)) == (True, True)
