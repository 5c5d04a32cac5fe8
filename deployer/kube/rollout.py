"""Waits until a Deployment or StatefulSet is ready, and reports what delays it, at the latest when the time is over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from deployer.core.errors import Conflict, DeployerError, Forbidden, NotReady, ServerRefused
from deployer.core.manifests.manifest import KINDS, POD, PVC, REPLICA_SET, STATEFUL_SET, Manifest, Ref
from deployer.core.remedies import Remedy
from deployer.core.status.readiness import REFUSED, Readiness, Snapshot, outdated, readiness
from deployer.kube import objects
from deployer.kube.session import Session
from deployer.kube.streams import changes, lines_of_log

_POLL_SECONDS: Final = 2.0
_LAST_LINES: Final = 8
_TRIED_AGAIN: Final = "mlflow-deployer.github.io/tried-again-at"
REFUSAL: Final = "deployer: refused to start: "  # launch.py begins its reason with this text


@dataclass(frozen=True)
class Rollout:
    """A Deployment or StatefulSet to wait for, the label selector of its pods, and its name in messages."""

    ref: Ref
    labels: str
    title: str = "the server"


def status(session: Session, rollout: Rollout, workload: Manifest | None, note: Callable[[str], None]) -> Readiness:
    """Return the progress of a rollout. What may not be read for the diagnosis is left out, with a note."""
    first = readiness(Snapshot(workload))
    if workload is None or first.ready or first.stuck:
        return first
    pods, _ = objects.listed(session, POD, labels=rollout.labels)
    claims: list[Manifest] = []
    events: list[Manifest] = []
    try:
        if pods and not any(_running(pod) for pod in pods):
            # the volumes of this server, not of another program with the same instance name
            claims, _ = objects.listed(session, PVC, labels=rollout.labels.rpartition(",")[0])
            named = [newest_first(pods)[0], *claims]
            events = [event for item in named for event in objects.events_about(session, item["metadata"]["name"])]
        elif not pods and rollout.ref.kind == STATEFUL_SET.name:
            events = list(objects.events_about(session, rollout.ref.name))
    except Forbidden as error:
        note(f"cannot look for causes: {error.message}")
    return readiness(Snapshot(workload, pods, claims, events))


def wait(session: Session, rollout: Rollout, left: Callable[[], float], note: Callable[[str], None]) -> None:
    """Return when the Deployment or StatefulSet is ready.

    Raises:
        NotReady: it is not ready in time, or will not become ready; the message ends with the last lines of the log.
        Conflict: somebody deleted it meanwhile, or scaled it to 0.
        ServerRefused: launch.py refuses to start with its settings.
    """
    stuck_since: float | None = None
    nudged = False
    once = _once(note)
    while True:
        workload, version = _current(session, rollout.ref)
        state = status(session, rollout, workload, once)
        if state.ready:
            return
        if rollout.ref.kind == STATEFUL_SET.name:
            _delete_outdated(session, rollout, workload, once)
        if state.stuck and not nudged:
            _nudge(session, rollout, workload, once)
        elif state.stuck:
            once(state.reason)
            if state.crashed:
                _raise_refusal(session, rollout.labels, state.crashed, once)
        nudged = True
        stuck_since = (stuck_since or time.monotonic()) if state.stuck else None
        _require_time(session, rollout, state, stuck_since, left, once)
        seconds = min(_POLL_SECONDS, max(left(), 1.0))
        begun = time.monotonic()
        for _, changed in changes(
            session,
            KINDS[rollout.ref.kind],
            fields=f"metadata.name={rollout.ref.name}",
            resource_version=version,
            seconds=seconds,
        ):
            if readiness(Snapshot(changed)).ready or time.monotonic() - begun > seconds:
                break


def _once(note: Callable[[str], None]) -> Callable[[str], None]:
    """Return a `note` that reports each text only once."""
    told: set[str] = set()

    def tell(text: str) -> None:
        if text not in told:
            told.add(text)
            note(text)

    return tell


def _current(session: Session, ref: Ref) -> tuple[Manifest, str]:
    """Return the Deployment or StatefulSet, and the resourceVersion from which a watch continues.

    Raises:
        Conflict: it is gone, or scaled to 0.
    """
    found, version = objects.listed(session, KINDS[ref.kind], fields=f"metadata.name={ref.name}")
    if not found or found[0]["spec"].get("replicas", 1) == 0:
        what = "scaled to 0" if found else "deleted"
        raise Conflict(f"somebody has {what} {ref.kind} {ref.name} in the meantime", hint="the same command continues")
    return {**found[0], "kind": ref.kind}, version


def _require_time(
    session: Session,
    rollout: Rollout,
    state: Readiness,
    stuck_since: float | None,
    left: Callable[[], float],
    note: Callable[[str], None],
) -> None:
    stuck = stuck_since is not None and time.monotonic() - stuck_since > state.patience
    if stuck or not left():
        lead = f"{rollout.title} {'will not become ready' if stuck else 'is not ready in time'}"
        words = last_words(session, rollout.labels, note)
        raise NotReady(f"{lead}: {state.reason}{words}", hint=state.hint or Remedy.SEE_LOG)


def _nudge(session: Session, rollout: Rollout, workload: Manifest, note: Callable[[str], None]) -> None:
    """Make the cluster retry at once what failed before this command. It may otherwise wait up to 15 minutes.

    Deletes the workload's pods, which the cluster then creates again. If none could be created, deletes the ReplicaSet
    of a Deployment, which counts the failures. The controller of StatefulSets tries again after any change of a
    StatefulSet, so an annotation is enough there.
    """
    try:
        waiting = [pod for pod in pods_of(session, rollout.labels) if not pod["metadata"].get("deletionTimestamp")]
        if not waiting and rollout.ref.kind == STATEFUL_SET.name:
            objects.annotate(session, workload, _TRIED_AGAIN, datetime.now(UTC).isoformat(timespec="milliseconds"))
        elif not waiting:
            waiting, _ = objects.listed(session, REPLICA_SET, labels=rollout.labels)
            waiting = [item for item in waiting if item["spec"].get("replicas") and not item["status"].get("replicas")]
        kind = POD.name if waiting and "containers" in waiting[0]["spec"] else REPLICA_SET.name
        for item in waiting:
            objects.delete(session, {**item, "kind": kind})
    except Forbidden as error:
        note(f"cannot make the cluster try again at once: {error.message}")


def _delete_outdated(session: Session, rollout: Rollout, workload: Manifest, note: Callable[[str], None]) -> None:
    """Delete broken pods of an earlier revision, for which a StatefulSet would wait forever."""
    try:
        for pod in outdated(workload, pods_of(session, rollout.labels)):
            objects.delete(session, {**pod, "kind": POD.name})
    except Forbidden as error:
        note(f"cannot replace a pod that is not ready: {error.message}")


def _running(pod: Manifest) -> bool:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any((status.get("state") or {}).get("running") for status in statuses)


def _raise_refusal(session: Session, labels: str, container: str, note: Callable[[str], None]) -> None:
    for pod in pods_of(session, labels):
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            ended = (status.get("state") or {}).get("terminated") or (status.get("lastState") or {}).get("terminated")
            if status["name"] == container and ended and ended.get("exitCode") == REFUSED:
                refusals = [line for line in _log(session, pod, status, 200, note) if line.startswith(REFUSAL)]
                if refusals:
                    raise ServerRefused(refusals[-1].removeprefix(REFUSAL))


def last_words(session: Session, labels: str, note: Callable[[str], None]) -> str:
    """Return the last log lines of the newest pod that has any, indented, each after a line break."""
    for pod in pods_of(session, labels):
        for status in (pod.get("status") or {}).get("containerStatuses") or ():
            lines = _log(session, pod, status, _LAST_LINES, note)
            if lines:
                return "".join(f"\n  {line}" for line in lines)
    return ""


def pods_of(session: Session, labels: str) -> list[Manifest]:
    """Return the matching pods, newest first; pods that are being deleted come last."""
    return newest_first(objects.listed(session, POD, labels=labels)[0])


def newest_first(pods: Iterable[Manifest]) -> list[Manifest]:
    """Sort pods: the newest first, and terminating pods last."""
    return sorted(
        pods,
        key=lambda pod: ("deletionTimestamp" not in pod["metadata"], pod["metadata"]["creationTimestamp"]),
        reverse=True,
    )


def _log(session: Session, pod: Manifest, status: Manifest, tail: int, note: Callable[[str], None]) -> list[str]:
    if not status.get("containerID") and not status.get("lastState"):
        return []
    state = status.get("state") or {}
    previous = bool(status.get("lastState")) and "running" not in state and "terminated" not in state
    try:
        return list(lines_of_log(session, pod["metadata"]["name"], status["name"], tail, previous=previous))
    except Forbidden as error:
        note(f"cannot read the pod's log: {error.message}")
    except DeployerError:
        pass  # the pod is gone or has no log yet; the diagnosis must not hide the first error
    return []
