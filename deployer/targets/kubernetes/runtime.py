"""Runs a server as objects of a cluster: compares by dry run, applies on the server side, waits and prunes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import Final

from deployer.core.errors import ServerRefused, StateError, last_line
from deployer.core.manifests.changes import Change, foreign_changes
from deployer.core.manifests.inventory import WORKLOAD_KINDS, removals, workloads_of
from deployer.core.manifests.manifest import PVC, Manifest, Ref, ref_of
from deployer.core.outcome import Done, Outcome
from deployer.core.secrets.values import Secrets
from deployer.core.stack.components import build
from deployer.core.stack.model import SERVER, Stack, Workload
from deployer.core.status.image_status import running_image
from deployer.kube.session import Session
from deployer.kube.streams import lines_of_log
from deployer.targets import Circumstances, Deadline, Live, Program, Software
from deployer.targets.kubernetes.manifests import manifests_of
from deployer.targets.kubernetes.own_objects import OwnObjects
from deployer.targets.kubernetes.placement import platform_of
from deployer.targets.kubernetes.store import KubernetesStore
from deployer.targets.kubernetes.workloads import KubernetesWorkloads

_AT_ONCE: Final = 4


class KubernetesRuntime:
    """The objects of one server."""

    def __init__(
        self,
        session: Session,
        store: KubernetesStore,
        own: OwnObjects,
        name: str,
        note: Callable[[str], None],
        *,
        take_over: bool,
    ) -> None:
        self._session = session
        self._store = store
        self._objects = own
        self._name = name
        self._take_over = take_over
        self._workloads = KubernetesWorkloads(session, store, name, note, self._stored_stack)

    def prepared(self, workloads: Sequence[Workload]) -> Outcome:  # part of the Protocol
        """Return Done: the cluster pulls the image itself."""
        return Done(f"namespace {self._session.namespace}")

    def prepare(self, workloads: Sequence[Workload], deadline: Deadline) -> None:
        """Do nothing; never called, see `prepared`."""

    def pending(self, stack: Stack, live: Live) -> tuple[Change, ...]:
        """Return what an apply would change, as the API server reports it in a dry run.

        Raises:
            Conflict: an object with that name, or a field of it, belongs to somebody else.
        """
        return self._differences(stack, force=self._take_over)

    def drift(self, stack: Stack, live: Live) -> tuple[Change, ...]:
        """Return all differences from the rendered objects, including fields that others have taken over or added."""
        rendered = [self._objects.get(ref_of(manifest)) for manifest in manifests_of(stack)]
        added = [change for live in rendered if live for change in foreign_changes(ref_of(live), live)]
        # a field that was taken over already shows as a difference from the rendered object
        differences = self._differences(stack, force=True)
        paths = {change.path for change in differences}
        return (*differences, *(change for change in added if change.path not in paths))

    def _differences(self, stack: Stack, *, force: bool) -> tuple[Change, ...]:
        manifests = manifests_of(stack)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(lambda manifest: self._objects.differences(manifest, force=force), manifests))
        inventory = set(self._store.inventory())
        # objects that match but are missing in the inventory: a later delete needs them there
        unknown = [
            Change(str(ref), "not in the inventory", "there") for ref in map(ref_of, manifests) if ref not in inventory
        ]
        # a workload that is gone but still listed would count as a workload that does not run
        superfluous = [
            Change(str(ref), "there" if live else "in the inventory", None)
            for ref in self._superfluous(manifests, inventory)
            if (live := self._objects.get(ref)) or ref.kind in WORKLOAD_KINDS
        ]
        return (*(change for changes in found for change in changes), *unknown, *superfluous)

    def _superfluous(self, manifests: Sequence[Manifest], inventory: Iterable[Ref]) -> list[Ref]:
        rendered = {ref_of(manifest) for manifest in manifests}
        return sorted(ref for ref in inventory if ref not in rendered and ref.kind != PVC.name)

    def apply(self, stack: Stack, secrets: Secrets, deadline: Deadline) -> None:
        """Apply all objects, and prune objects of the inventory that are not rendered any more, except volumes.

        Workloads come last, each when the workloads that it needs are ready.
        """
        manifests = manifests_of(stack)
        inventory = self._store.inventory()
        superfluous = self._superfluous(manifests, inventory)
        claims = [ref for ref in inventory if ref.kind == PVC.name]
        rendered = [ref_of(manifest) for manifest in manifests]
        self._store.save_inventory([*rendered, *claims, *superfluous])
        self._end_replaced(stack, superfluous, deadline)
        for manifest in manifests:
            if manifest["kind"] not in WORKLOAD_KINDS:
                self._objects.apply(manifest, deadline)
        by_ref = {ref_of(manifest): manifest for manifest in manifests}
        workloads = workloads_of(stack)
        for one in workloads:
            if needs := stack.workload(one.name).needs:
                self._workloads.wait(deadline, [other for other in workloads if other.name in needs])
            self._objects.apply(by_ref[one.ref], deadline)
        if superfluous:
            self._remove(superfluous, deadline, staying={workload.name for workload in stack.workloads})
            self._store.save_inventory([*rendered, *claims])

    def _end_replaced(self, stack: Stack, superfluous: Iterable[Ref], deadline: Deadline) -> None:
        """End workloads that get another kind. Old and new pods must not use a volume at the same time."""
        names = {one.ref.name for one in workloads_of(stack)}
        if replaced := [ref for ref in superfluous if ref.kind in WORKLOAD_KINDS and ref.name in names]:
            self._remove(replaced, deadline)

    def _stored_stack(self) -> Stack | None:
        """Return the Stack of the stored record, None without a readable record."""
        with suppress(StateError):  # a damaged record must not prevent a delete
            if record := self._store.load():
                return build(record.spec, platform_of(self._session, record.spec, record.assigned), record.assigned)
        return None

    def observe(self) -> Live:
        """Return the state of the server's workloads."""
        return self._workloads.observe()

    def software(self, workloads: Sequence[Workload]) -> Software:
        """Return the image of the newest running pod of the workload `server`."""
        for pod in self._workloads.pods(SERVER):
            if found := running_image(pod, SERVER):
                return Software(image=found.image, digest=found.digest)
        return Software()

    def explain(self, live: Live) -> str:
        """Return why the server's pods are not ready, from the conditions and events of the cluster."""
        return live.detail if live.state != "running" or live.ready else self._workloads.explain()

    def circumstances(self, stack: Stack, live: Live) -> Circumstances:
        """Return the server's volume claims, and when its pod started; only the pods know the used space."""
        data = ", ".join(f"PersistentVolumeClaim {self._name}-{v.name} ({v.size})" for v in stack.volumes)
        pods = self._workloads.pods(SERVER) if live.state == "running" else []
        started = (pods[0].get("status") or {}).get("startTime") if pods else None
        return Circumstances(data or None, since=datetime.fromisoformat(started) if started else None)

    def stop(self, deadline: Deadline) -> None:
        """Scale the workloads to 0 in reverse start order, each when the pods of the one before have ended."""
        self._workloads.stop(deadline)

    def _removable(self) -> list[Ref]:
        return [ref for ref in self._store.remaining() if ref.kind != PVC.name]

    def remains(self) -> tuple[str, ...]:
        """Return the server's existing objects, except volumes."""
        refs = self._removable()
        existing = [str(ref) for ref in refs if self._objects.get(ref) is not None]
        for workload in sorted({one.name for one in self._workloads.among(refs)}):
            existing += [f"Pod/{pod['metadata']['name']}" for pod in self._workloads.living(workload)]
        return tuple(existing)

    def remove(self, deadline: Deadline) -> None:
        """Delete the server's own objects, except volumes.

        Objects that protect the server or that its pods read, such as the NetworkPolicy, are deleted after the last pod
        has ended. Until then, nobody may gain access.
        """
        self._remove(self._removable(), deadline)

    def _remove(self, refs: Sequence[Ref], deadline: Deadline, staying: Collection[str] = ()) -> None:
        """Delete objects in the order of `removals`; the pods of the workloads in `staying` run on."""
        for group, workload in removals(refs, self._workloads.among(refs)):
            self._objects.delete(group, deadline)
            if workload is not None and workload not in staying:
                self._workloads.await_no_pods(workload, deadline)

    def wait(self, stack: Stack, deadline: Deadline) -> None:
        """Wait until all workloads are ready."""
        self._workloads.wait(deadline)

    def execute(self, stack: Stack, secrets: Secrets, work: Program, deadline: Deadline) -> None:
        """Run a program in the server's container."""
        from deployer.kube.websockets import run  # noqa: PLC0415  # slow import that most commands do not need

        pod = self.newest_pod()["metadata"]["name"]
        command = ("python", "-c", work.source)
        code, _, said = run(self._session, pod, SERVER, command, seconds=deadline.left, stdin=work.stdin)
        if code:
            raise ServerRefused(f"the server's own Python in pod {pod} failed: {last_line(said)}")

    def logs(self, workload: str, tail: int, *, follow: bool) -> Iterator[str]:
        """Yield lines of the log of a workload's newest pod, beginning with the last `tail` lines."""
        pod = self._workloads.newest_pod(workload)
        yield from lines_of_log(self._session, pod["metadata"]["name"], workload, tail, follow=follow)

    def newest_pod(self) -> Manifest:
        """Return the newest pod of the workload `server`.

        Raises:
            NotReady: the server has no pod.
        """
        return self._workloads.newest_pod()
