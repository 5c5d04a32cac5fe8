"""Observes, awaits, scales down and ends the Deployments and StatefulSets of one server.

The inventory says which workloads there are. They start in the order in which they need each other, and stop in the
reverse order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from deployer.core.errors import NotReady, UsageError
from deployer.core.manifests.inventory import ListedWorkload, in_start_order, listed_workloads
from deployer.core.manifests.manifest import DEPLOYMENT, KINDS, POD, Manifest, Ref
from deployer.core.remedies import Remedy
from deployer.core.stack.model import SERVER, Stack
from deployer.core.status.readiness import Snapshot, readiness
from deployer.kube import objects, rollout
from deployer.kube.rollout import Rollout
from deployer.kube.session import Session
from deployer.targets import Deadline, Live
from deployer.targets.kubernetes.labels import is_own, selector
from deployer.targets.kubernetes.store import KubernetesStore

_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class SeenWorkload:
    """One workload as observed; `live` is None without its object. `ended`: scaled to 0, and the last pod is gone."""

    listed: ListedWorkload
    live: Manifest | None
    ended: bool = False

    @property
    def ready(self) -> bool:
        """Tell whether all pods are ready."""
        return readiness(Snapshot(self.live)).ready

    @property
    def reason(self) -> str:
        """Say why the workload is not ready, as far as its object tells."""
        if self.live is None:
            return f"there is no {self.listed.ref.kind}"
        return "scaled to 0" if self.ended else readiness(Snapshot(self.live)).reason


def state_of(seen: Sequence[SeenWorkload]) -> Live:
    """Return the state of a server with these workloads, at least one, in start order.

    The server runs while any workload does, and is ready when all are. Its identity changes with each of them.
    """
    if all(one.live is None or one.ended for one in seen):
        main = next((one for one in seen if one.listed.name == SERVER), seen[-1])
        return Live("stopped", main.reason, ready=False)
    metadata = [one.live["metadata"] for one in seen if one.live]
    identity = " ".join(f"{item['uid']}:{item['generation']}" for item in metadata)
    waiting = next((one for one in seen if not one.ready), None)
    detail = ", ".join(f"{one.listed.ref.kind} {one.listed.ref.name}" for one in seen)
    if waiting and len(seen) > 1:
        detail = f"{title(waiting.listed.name)}: {waiting.reason}"
    return Live("running", detail, identity, ready=waiting is None)


def title(workload: str) -> str:
    """Return the name of one of several workloads in messages."""
    return f"workload {workload!r}"


class KubernetesWorkloads:
    """The Deployments and StatefulSets of one server.

    `stack` returns the Stack of the stored record, from which the start order follows; None without a usable record.
    """

    def __init__(
        self,
        session: Session,
        store: KubernetesStore,
        name: str,
        note: Callable[[str], None],
        stack: Callable[[], Stack | None],
    ) -> None:
        self._session = session
        self._store = store
        self._name = name
        self._note = note
        self._stack = stack

    def among(self, refs: Collection[Ref]) -> tuple[ListedWorkload, ...]:
        """Return the workloads among these objects in start order. Without any, return the server."""
        found = listed_workloads(self._name, refs) or (ListedWorkload(SERVER, Ref(DEPLOYMENT.name, self._name)),)
        return in_start_order(found, self._stack()) if len(found) > 1 else found

    def _listed(self) -> tuple[ListedWorkload, ...]:
        return self.among(self._store.inventory())

    def _live(self, listed: ListedWorkload) -> Manifest | None:
        live = objects.get(self._session, KINDS[listed.ref.kind], listed.ref.name)
        return live if live and is_own(live, self._name) else None

    def _seen(self, listed: Sequence[ListedWorkload]) -> list[SeenWorkload]:
        found = []
        for one in listed:
            live = self._live(one)
            ended = live is not None and live["spec"].get("replicas", 1) == 0 and not self.living(one.name)
            found.append(SeenWorkload(one, live, ended))
        return found

    def observe(self) -> Live:
        """Return the state of all workloads together."""
        return state_of(self._seen(self._listed()))

    def explain(self) -> str:
        """Return why the first workload that is not ready is not, from the conditions and events of the cluster."""
        seen = self._seen(self._listed())
        waiting = next((one for one in seen if not one.ready), seen[-1])
        reason = waiting.reason
        if waiting.live and not waiting.ended:
            reason = rollout.status(self._session, self._rollout(waiting.listed), waiting.live, self._note).reason
        return f"{title(waiting.listed.name)}: {reason}" if len(seen) > 1 else reason

    def _rollout(self, listed: ListedWorkload, name: str = "the server") -> Rollout:
        return Rollout(listed.ref, self._labels(listed.name), name)

    def _labels(self, workload: str) -> str:
        return f"{selector(self._name)},app.kubernetes.io/component={workload}"

    def wait(self, deadline: Deadline, some: Sequence[ListedWorkload] | None = None) -> None:
        """Wait in start order until some of several workloads are ready, by default all of the inventory.

        Raises:
            NotReady: a workload is not ready by the deadline, or will not become ready.
        """
        chosen = self._listed() if some is None else some
        plural = some is not None or len(chosen) > 1
        while True:
            for one in chosen:
                awaited = self._rollout(one, title(one.name)) if plural else self._rollout(one)
                rollout.wait(self._session, awaited, lambda: deadline.left, self._note)
            # a workload may have lost its readiness while another one became ready
            if len(chosen) == 1 or all(one.ready for one in self._seen(chosen)):
                return
            deadline.require("the workloads of the server are not ready at the same time")

    def stop(self, deadline: Deadline) -> None:
        """Scale each workload to 0, regardless of other changes to it, and wait until its pods have ended."""
        for listed in reversed(self._listed()):
            if self._live(listed):
                objects.scale(self._session, KINDS[listed.ref.kind], listed.ref.name, 0)
            self.await_no_pods(listed.name, deadline)

    def await_no_pods(self, workload: str, deadline: Deadline) -> None:
        """Wait until the pods of a workload have ended."""
        while pods := self.living(workload):
            deadline.require(f"Pod/{pods[0]['metadata']['name']} has not ended")
            time.sleep(_POLL_SECONDS)

    def living(self, workload: str) -> list[Manifest]:
        """Return the pods of a workload that run or terminate; evicted and failed pods are only records."""
        pods, _ = objects.listed(self._session, POD, labels=self._labels(workload))
        return [
            pod
            for pod in pods
            if pod["metadata"].get("deletionTimestamp")
            or (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        ]

    def pods(self, workload: str) -> list[Manifest]:
        """Return the pods of a workload, newest first; pods that are being deleted come last."""
        return rollout.pods_of(self._session, self._labels(workload))

    def newest_pod(self, workload: str = SERVER) -> Manifest:
        """Return the newest pod of a workload.

        Raises:
            UsageError: the server has no such workload.
            NotReady: the workload has no pod.
        """
        known = (SERVER,) if workload == SERVER else [one.name for one in self._listed()]
        if workload not in known:
            raise UsageError(
                f"server {self._name!r} has no workload {workload!r}", hint=f"its workloads: {', '.join(known)}"
            )
        if not (pods := self.pods(workload)):
            what = f"server {self._name!r}" if workload == SERVER else f"{title(workload)} of server {self._name!r}"
            raise NotReady(f"{what} has no pod", hint=Remedy.SEE_STATUS.of(name=self._name))
        return pods[0]
