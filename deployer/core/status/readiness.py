"""Determines from the objects of a cluster why a workload is not ready; sends no request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from deployer.core.errors import one_line
from deployer.core.manifests.manifest import DEPLOYMENT, STATEFUL_SET
from deployer.core.remedies import Hint, Remedy

Object = Mapping[str, Any]
_IMAGE: Final = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
# messages of containerd, CRI-O and registries for failures that a retry does not fix
_FINAL: Final = re.compile(
    r"InvalidImageName|not found|(manifest|name) unknown|invalid reference|denied|unauthorized|forbidden", re.IGNORECASE
)
_CONFIG: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_MOUNT: Final = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume", "FailedCreatePodSandBox"})
_GROWING: Final = frozenset({"TriggeredScaleUp", "Nominated"})  # cluster-autoscaler and Karpenter add a node
_PULL: Final = frozenset({"Failed"})
_POD_REFUSED: Final = frozenset({"FailedCreate"})  # a StatefulSet has no condition ReplicaFailure, only this event
_VOLUME: Final = frozenset({"ProvisioningFailed", "FailedBinding", "VolumeResizeFailed"})
# messages of the kubelet if the pod must not run as root and no other user is set
_ROOT: Final = re.compile("image will run as root|cannot verify user is non-root")
REFUSED: Final = 78  # exit code of launch.py; the last line of its log gives the reason


@dataclass(frozen=True)
class Readiness:
    """The progress of a Deployment, StatefulSet or pod.

    - `stuck`: it becomes ready only if somebody acts, as `hint` says; true after `patience` seconds in this state
    - `crashed`: the name of a container whose log says more
    """

    ready: bool
    reason: str
    stuck: bool = False
    hint: Hint | None = None
    crashed: str | None = None
    patience: float = 12.0  # allows for a registry's short failure, or a quota that the previous pod is about to free


@dataclass(frozen=True)
class Snapshot:
    """The objects that determine the readiness of a Deployment or StatefulSet.

    `events` are those of the workload itself, of its pods and of its claims. A workload without a `kind`, as in a list
    of the API server, is a Deployment.
    """

    workload: Object | None
    pods: Sequence[Object] = ()
    claims: Sequence[Object] = ()
    events: Sequence[Object] = ()


def readiness(seen: Snapshot) -> Readiness:
    """Return the progress of a Deployment or StatefulSet, and why it is not ready."""
    workload = seen.workload
    if workload is None:
        return Readiness(False, "the Deployment is not there")
    metadata, spec, status = workload["metadata"], workload["spec"], workload.get("status") or {}
    title, wanted = f"{_kind(workload)} {metadata['name']}", spec.get("replicas", 1)
    if not _observed(workload):
        return Readiness(False, f"the cluster has not looked at {title} yet")
    if wanted == 0:
        return Readiness(False, f"{title} is scaled to 0")
    if spec.get("paused"):
        hint = f"`kubectl rollout resume deployment/{metadata['name']}`"
        return Readiness(False, f"{title} is paused", stuck=True, hint=hint)
    if _rolled_out(workload, wanted):
        return Readiness(True, f"{title} has {wanted} ready")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return _refused_pod(title, one_line(str(condition.get("message", ""))))
    living = [pod for pod in seen.pods if not pod["metadata"].get("deletionTimestamp")]
    if not living:
        return _without_pod(seen, title)
    newest = max(living, key=lambda pod: pod["metadata"]["creationTimestamp"])
    if _is_outdated(workload, newest):
        return Readiness(False, f"pod {newest['metadata']['name']} still has to be replaced")
    return pod_readiness(newest, seen.claims, seen.events)


def outdated(workload: Object, pods: Iterable[Object]) -> list[Object]:
    """Return the pods of an earlier revision that a StatefulSet never replaces by itself, because they are not ready.

    Source: kubernetes.io/docs, StatefulSets, "Forced rollback".
    """
    return [
        pod
        for pod in pods
        if _is_outdated(workload, pod)
        and not pod["metadata"].get("deletionTimestamp")
        and not any(
            condition.get("type") == "Ready" and condition.get("status") == "True"
            for condition in (pod.get("status") or {}).get("conditions") or ()
        )
    ]


def _kind(workload: Object) -> str:
    return str(workload.get("kind", DEPLOYMENT.name))


def _observed(workload: Object) -> bool:
    """Tell whether the status is that of the latest change of the spec."""
    seen = (workload.get("status") or {}).get("observedGeneration", 0)
    return bool(seen >= workload["metadata"].get("generation", 0))


def _rolled_out(workload: Object, wanted: int) -> bool:
    """Tell whether all pods are ready and up to date.

    The rules are those of `kubectl rollout status` (kubectl, pkg/polymorphichelpers/rollout_status.go). No other pods
    may be left.
    """
    status = workload.get("status") or {}
    held_back = _held_back(workload)
    updated = status.get("updatedReplicas", 0) >= wanted - held_back
    if not updated or not status.get("readyReplicas", 0) >= wanted == status.get("replicas"):
        return False
    if _kind(workload) != STATEFUL_SET.name or held_back or not _is_rolling(workload):
        return True
    return "updateRevision" in status and bool(status.get("currentRevision") == status["updateRevision"])


def _held_back(statefulset: Object) -> int:
    """Return the number of pods that keep the old revision, as a patch may demand."""
    strategy = statefulset["spec"].get("updateStrategy") or {}
    return int((strategy.get("rollingUpdate") or {}).get("partition") or 0)


def _is_rolling(statefulset: Object) -> bool:
    """Tell whether a StatefulSet replaces its pods; with OnDelete, it leaves that to a person."""
    return bool((statefulset["spec"].get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate")


def _is_outdated(workload: Object, pod: Object) -> bool:
    """Tell whether a StatefulSet will replace this pod by a pod of a newer revision."""
    if _kind(workload) != STATEFUL_SET.name or _held_back(workload) or not _is_rolling(workload):
        return False
    wanted = (workload.get("status") or {}).get("updateRevision")
    revision = (pod["metadata"].get("labels") or {}).get("controller-revision-hash")
    return _observed(workload) and wanted is not None and revision not in (None, wanted)


def _without_pod(seen: Snapshot, title: str) -> Readiness:
    ending = [pod["metadata"]["name"] for pod in seen.pods]
    if ending:
        return Readiness(False, f"waiting for pod {ending[0]} to end")
    refusal = _last(seen.events, title.partition(" ")[2], _POD_REFUSED)
    return _refused_pod(title, refusal) if refusal else Readiness(False, "waiting for its pod to be made")


def _refused_pod(title: str, message: str) -> Readiness:
    hint = "see what in the namespace refuses it (quota, LimitRange, admission), or change the pod with a patch"
    if "exceeded quota" in message:
        hint = "make room in the quota, or lower the sizes in the spec"
    if "PodSecurity" in message:
        hint = "the namespace's PodSecurity level is stricter than `restricted`, or a patch loosens the pod"
    return Readiness(False, f"the cluster refuses the pods of {title}: {message}", stuck=True, hint=hint)


def pod_readiness(pod: Object, claims: Sequence[Object], events: Sequence[Object]) -> Readiness:
    """Return the progress of a pod, and why it is not ready."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return _unscheduled(name, one_line(str(condition.get("message", ""))), claims, events)
    if status.get("phase") == "Failed":
        words = one_line(f"{status.get('reason', '')} {status.get('message', '')}".strip())
        return Readiness(False, f"pod {name} has failed: {words}")
    containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for container in containers:
        found = _container(name, container, _last(events, name, _PULL), without_user=_without_user(pod))
        if found:
            return found
    mounts = _last(events, name, _MOUNT)
    if mounts and not any((c.get("state") or {}).get("running") for c in containers):
        return Readiness(False, f"pod {name} cannot start yet: {mounts}")
    running = any((container.get("state") or {}).get("running") for container in containers)
    return Readiness(False, f"pod {name} {'runs, but is not ready yet' if running else 'is being started'}")


def _without_user(pod: Object) -> bool:
    """Tell whether a pod has no numeric user, neither from its manifest nor from OpenShift's admission."""
    spec = pod.get("spec") or {}
    contexts = [spec.get("securityContext"), *(item.get("securityContext") for item in spec.get("containers") or ())]
    return all((context or {}).get("runAsUser") is None for context in contexts)


def _container(pod: str, container: Object, pulling: str, *, without_user: bool) -> Readiness | None:
    state = container.get("state") or {}
    waiting = state.get("waiting") or {}
    reason, message = str(waiting.get("reason", "")), one_line(str(waiting.get("message", "")))
    if reason in _IMAGE:
        # "Back-off pulling image" gives no reason; the event of the failure before it does
        message = message if ":" in message.partition(container["image"])[2] or not pulling else pulling
        gone = _FINAL.search(f"{reason} {message}")
        return Readiness(
            False,
            f"the image {container['image']} cannot be pulled ({reason}): {message}",
            stuck=gone is not None,
            hint="is its name right? spec.mlflow.image, spec.pod.imagePullSecrets and imageMirrors change it",
        )
    if reason in _CONFIG:
        words = f"container {container['name']} of pod {pod} cannot be made: {message}"
        hint: Hint = "does a patch name what is not there?"
        if without_user and _ROOT.search(message):
            words += (
                "; the profile is OpenShift's and leaves the user to the cluster, but this namespace has no UID range"
            )
            hint = Remedy.CHOOSE_PROFILE
        return Readiness(False, words, stuck=True, hint=hint)
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended and not container.get("ready") and (reason == "CrashLoopBackOff" or state.get("terminated")):
        return _ended(pod, container, ended)
    return None


def _ended(pod: str, container: Object, ended: Object) -> Readiness:
    name, code = container["name"], ended.get("exitCode")
    if ended.get("reason") == "OOMKilled":
        return Readiness(
            False,
            f"container {name} of pod {pod} was killed: it needs more memory than its limit",
            stuck=container.get("restartCount", 0) > 1,
            hint="raise the limit with a patch of the Deployment, or ask fewer at once",
        )
    stuck = code == REFUSED or container.get("restartCount", 0) > 1
    return Readiness(False, f"container {name} of pod {pod} ended with code {code}", stuck=stuck, crashed=name)


def _unscheduled(pod: str, message: str, claims: Sequence[Object], events: Sequence[Object]) -> Readiness:
    for claim in claims:
        if (claim.get("status") or {}).get("phase") == "Bound":
            continue
        name, wanted = claim["metadata"]["name"], (claim.get("spec") or {}).get("storageClassName")
        said = _last(events, name, _VOLUME)
        if not wanted:
            words = f"volume {name} gets no storage: the cluster has no default storage class"
            return Readiness(False, words, stuck=True, hint=Remedy.NAME_STORAGE_CLASS)
        hint = Remedy.CHECK_VOLUME
        if said:
            words = f"volume {name} of storage class {wanted!r} cannot be made: {said}"
            return Readiness(False, words, stuck=True, hint=hint)
        if "unbound" in message or "not found" in message:
            # no failure is recorded; the provisioner may only be slow
            return Readiness(False, f"volume {name} of storage class {wanted!r} is not bound: {message}", hint=hint)
    growing = _last(events, pod, _GROWING)
    return Readiness(
        False,
        f"no node takes pod {pod}: {message}",
        stuck=not growing,
        patience=30.0,  # an autoscaler checks every 10 s, and only then reports that it adds a node
        hint="lower the sizes in the spec, free resources, or ask the cluster's administrators",
    )


def _last(events: Iterable[Object], name: str, reasons: frozenset[str]) -> str:
    fitting = [
        event
        for event in events
        if event.get("reason") in reasons and (event.get("involvedObject") or {}).get("name") == name
    ]
    if not fitting:
        return ""
    newest = max(fitting, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or ""))
    return one_line(str(newest.get("message", "")))
