"""Runs a server as objects of a cluster: renders, compares by dry run, applies on the server side, waits and prunes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Final

import yaml

from deployer.catalogue import catalogue
from deployer.core.errors import Conflict, NotReady, ServerRefused, StateError, UsageError, last_line
from deployer.core.manifests.changes import Change, foreign_changes, is_fixed, object_changes
from deployer.core.manifests.inventory import WORKLOAD_KINDS, removals, workloads_of
from deployer.core.manifests.manifest import KINDS, PVC, ROUTE, Manifest, Ref, ref_of
from deployer.core.manifests.rendering import Renderer
from deployer.core.outcome import Done, Outcome
from deployer.core.remedies import Remedy
from deployer.core.secrets.values import Secrets
from deployer.core.spec.platform import PROFILES, Platform, recognised
from deployer.core.spec.routes import allow_list, require_host_label
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import build
from deployer.core.stack.model import SERVER, Stack, Workload
from deployer.core.status.admission import RouteState, route_state
from deployer.core.status.image_status import running_image
from deployer.kube import objects
from deployer.kube.refusals import Rejected, UnknownApi
from deployer.kube.session import Session
from deployer.kube.streams import lines_of_log
from deployer.targets import Circumstances, Deadline, Live, Program, Software
from deployer.targets.kubernetes import foreign_lists
from deployer.targets.kubernetes.store import KubernetesStore, is_own
from deployer.targets.kubernetes.workloads import KubernetesWorkloads

PORT: Final = 5000
_POLL_SECONDS: Final = 0.2
_ADMISSION_SECONDS: Final = 30.0  # routers answer within a second
_AT_ONCE: Final = 4
_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class KubernetesRuntime:
    """The objects of one server."""

    def __init__(
        self, session: Session, store: KubernetesStore, name: str, note: Callable[[str], None], *, take_over: bool
    ) -> None:
        self._session = session
        self._store = store
        self._name = name
        self._note = note
        self._take_over = take_over
        self._list_replaced: float | None = None
        self._workloads = KubernetesWorkloads(session, store, name, note, self._stored_stack)
        data = catalogue()
        self._renderer = Renderer(data.templates, data.plugins)

    @property
    def list_age(self) -> float | None:
        """Seconds since this command replaced the Route's allow-list, None if it did not."""
        return None if self._list_replaced is None else time.monotonic() - self._list_replaced

    def platform(self, spec: Spec, before: Assigned) -> Platform:
        """Return the platform from the spec or the record, else detect it from the cluster's address and API groups."""
        known = spec.spec.profile or before.profile
        if known:
            return PROFILES[known]
        context = self._session.context
        return recognised(context.server, context.name, self._session.api_groups())

    def prepared(self, workloads: Sequence[Workload]) -> Outcome:  # part of the Protocol
        """Return Done: the cluster pulls the image itself."""
        return Done(f"namespace {self._session.namespace}")

    def prepare(self, workloads: Sequence[Workload], deadline: Deadline) -> None:
        """Do nothing; never called, see `prepared`."""

    def check(self, spec: Spec, before: Assigned) -> None:
        """Validate every object with a server-side dry run before anything is stored."""
        self._store.require_names()
        self._require_data()
        assigned = self.predict_assignment(spec, before)
        if assigned.host:
            self._store.require_host(assigned.host)
        self.pending(build(spec, self.platform(spec, before), assigned), Live("stopped"))

    def assigned(self, spec: Spec, before: Assigned) -> bool:
        """Tell whether host and port match the spec, and whether a Route still has the host that was assigned."""
        if before != self.predict_assignment(spec, before):
            return False
        if before.exposure != ROUTE.name.lower():
            return True
        live = self._own(Ref(ROUTE.name, self._name))
        return live is not None and live["spec"].get("host") == before.host

    @contextmanager
    def assign(self, spec: Spec, before: Assigned, deadline: Deadline) -> Iterator[Assigned]:
        """Yield host and port; both belong to this namespace, so no reservation is needed.

        A Route is created first, to learn the host that the cluster assigns.

        Raises:
            Conflict: no router admits the Route, because of its host or another Route.
            NotReady: no router has answered in time.
        """
        assigned = self.predict_assignment(spec, before)
        if assigned.exposure != ROUTE.name.lower():
            yield assigned
            return
        # without a host, the stack contains no workloads
        stack = build(spec, self.platform(spec, before), dataclasses.replace(assigned, host=None))
        (manifest,) = [manifest for manifest in self.rendered(stack) if manifest["kind"] == ROUTE.name]
        self._store.save_inventory({*self._store.inventory(), ref_of(manifest)})
        self._apply(manifest, deadline)
        state = self._admitted(deadline)
        if assigned.own_host and state.cname:
            self._note(f"{state.host} must lead to the cluster: in its DNS, make it a CNAME of {state.cname}")
        yield dataclasses.replace(assigned, host=state.host)

    def _admitted(self, deadline: Deadline) -> RouteState:
        """Return the state of the Route once a router has admitted it.

        Raises:
            Conflict: a router rejects the Route.
            NotReady: no router has answered by the deadline.
        """
        limit = Deadline.after(min(_ADMISSION_SECONDS, deadline.left))
        while True:
            live = self._own(Ref(ROUTE.name, self._name))
            state = route_state(live) if live else RouteState()
            if state.host:
                return state
            if state.problem:
                raise Conflict(state.problem.reason, hint=state.problem.hint)
            if not limit.left:
                raise NotReady(
                    f"no router has taken Route {self._name} in {_ADMISSION_SECONDS:.0f} seconds",
                    hint=Remedy.CHECK_ROUTES,
                )
            time.sleep(_POLL_SECONDS)

    def predict_assignment(self, spec: Spec, before: Assigned) -> Assigned:
        """Return host and port, which follow from the spec.

        Raises:
            UsageError: the spec needs a host name for its public address, or the host name would be too long.
        """
        platform = self.platform(spec, before)
        wanted = spec.spec.exposure
        kind = wanted.type if wanted else platform.exposures[0]
        host = getattr(wanted, "host", None)
        own_host = bool(host) and kind != "none"
        if kind == "route" and not host:  # keep the host that the cluster has assigned
            host = before.host if before.exposure == kind and not before.own_host else None
            if host is None:
                require_host_label(self._name, self._session.namespace)
        elif kind != "none" and not host:
            raise UsageError(
                f"a public address needs a host name: {platform.name} assigns none to a server's {kind}",
                hint=Remedy.GIVE_HOST_OR_TUNNEL,
            )
        return dataclasses.replace(
            before,
            host=host if kind != "none" else None,
            own_host=own_host,
            namespace=self._session.namespace,
            # store only a detected profile: if a later spec names none, the cluster is detected again
            profile=before.profile if spec.spec.profile else platform.name,
            exposure=kind,
            ports={"http": PORT},
        )

    def rendered(self, stack: Stack) -> list[Manifest]:
        """Return the manifests of `stack` as data, in the order of applying them."""
        documents = self._renderer.manifests(stack).values()
        return [yaml.load(text, Loader=_Loader) for text in documents]  # noqa: S506  # a safe loader; own templates

    def pending(self, stack: Stack, live: Live) -> tuple[Change, ...]:
        """Return what an apply would change, as the API server reports it in a dry run.

        Raises:
            Conflict: an object with that name, or a field of it, belongs to somebody else.
        """
        return self._differences(stack, force=self._take_over)

    def drift(self, stack: Stack, live: Live) -> tuple[Change, ...]:
        """Return all differences from the rendered objects, including fields that others have taken over or added."""
        rendered = [self._own(ref_of(manifest)) for manifest in self.rendered(stack)]
        added = [change for live in rendered if live for change in foreign_changes(ref_of(live), live)]
        # a field that was taken over already shows as a difference from the rendered object
        differences = self._differences(stack, force=True)
        paths = {change.path for change in differences}
        return (*differences, *(change for change in added if change.path not in paths))

    def _differences(self, stack: Stack, *, force: bool) -> tuple[Change, ...]:
        manifests = self.rendered(stack)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(lambda manifest: self._difference(manifest, force=force), manifests))
        inventory = set(self._store.inventory())
        # objects that match but are missing in the inventory: a later delete needs them there
        unknown = [
            Change(str(ref), "not in the inventory", "there") for ref in map(ref_of, manifests) if ref not in inventory
        ]
        # a workload that is gone but still listed would count as a workload that does not run
        superfluous = [
            Change(str(ref), "there" if live else "in the inventory", None)
            for ref in self._superfluous(manifests, inventory)
            if (live := self._own(ref)) or ref.kind in WORKLOAD_KINDS
        ]
        return (*(change for changes in found for change in changes), *unknown, *superfluous)

    def _difference(self, manifest: Manifest, *, force: bool) -> tuple[Change, ...]:
        ref = ref_of(manifest)
        live = objects.get(self._session, KINDS[ref.kind], ref.name)
        while True:
            if live and not is_own(live, self._name) and not self._take_over:
                raise Conflict(
                    f"{ref} is there already in namespace {self._session.namespace!r} and is not deployer's",
                    hint=Remedy.ADOPT_OBJECT,
                )
            if live and live["metadata"].get("deletionTimestamp"):
                return (Change(str(ref), "being deleted", "there"),)
            if live and is_fixed(live, manifest):
                return (Change(str(ref), "with another host or certificate", "made anew"),)
            try:
                wanted = objects.apply(self._session, manifest, dry_run=True, force=force)
            except Rejected:
                if live and _never_bound(live):
                    return (Change(str(ref), "never got storage", "made anew"),)
                raise
            if not live:
                return (Change(str(ref), None, "there"),)
            changes = (*object_changes(ref, live, wanted), *foreign_lists.removals(wanted, manifest, force=force))
            if not changes:
                return ()
            # a controller of the cluster may have written between the two responses: compare again
            before, live = live, objects.get(self._session, KINDS[ref.kind], ref.name)
            if live and live["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]:
                return changes

    def _superfluous(self, manifests: Sequence[Manifest], inventory: Iterable[Ref]) -> list[Ref]:
        rendered = {ref_of(manifest) for manifest in manifests}
        return sorted(ref for ref in inventory if ref not in rendered and ref.kind != PVC.name)

    def apply(self, stack: Stack, secrets: Secrets, deadline: Deadline) -> None:
        """Apply all objects, and prune objects of the inventory that are not rendered any more, except volumes.

        Workloads come last, each when the workloads that it needs are ready.
        """
        manifests = self.rendered(stack)
        inventory = self._store.inventory()
        superfluous = self._superfluous(manifests, inventory)
        claims = [ref for ref in inventory if ref.kind == PVC.name]
        rendered = [ref_of(manifest) for manifest in manifests]
        self._store.save_inventory([*rendered, *claims, *superfluous])
        self._end_replaced(stack, superfluous, deadline)
        for manifest in manifests:
            if manifest["kind"] not in WORKLOAD_KINDS:
                self._apply(manifest, deadline)
        by_ref = {ref_of(manifest): manifest for manifest in manifests}
        workloads = workloads_of(stack)
        for one in workloads:
            if needs := stack.workload(one.name).needs:
                self._workloads.wait(deadline, [other for other in workloads if other.name in needs])
            self._apply(by_ref[one.ref], deadline)
        if superfluous:
            self._remove(superfluous, deadline, staying={workload.name for workload in stack.workloads})
            self._store.save_inventory([*rendered, *claims])

    def _end_replaced(self, stack: Stack, superfluous: Iterable[Ref], deadline: Deadline) -> None:
        """End workloads that get another kind. Old and new pods must not use a volume at the same time."""
        names = {one.ref.name for one in workloads_of(stack)}
        if replaced := [ref for ref in superfluous if ref.kind in WORKLOAD_KINDS and ref.name in names]:
            self._remove(replaced, deadline)

    def _apply(self, manifest: Manifest, deadline: Deadline) -> None:
        ref = ref_of(manifest)
        self._require_not_leaving(ref, deadline)
        route = self._own(ref) if ref.kind == ROUTE.name else None
        if route and is_fixed(route, manifest):
            self._delete([ref], deadline)
        try:
            applied = objects.apply(self._session, manifest, force=self._take_over)
            foreign_lists.remove(self._session, applied, manifest, force=self._take_over)
            if route and allow_list(route) != allow_list(manifest):
                self._list_replaced = time.monotonic()
        except Rejected:
            live = self._own(ref_of(manifest))
            if not live or not _never_bound(live):
                raise
            # a claim's request is immutable; this claim was never bound, so it holds no data
            objects.delete(self._session, live, exactly=True)
            self._require_not_leaving(ref_of(manifest), deadline)
            objects.apply(self._session, manifest, force=self._take_over)

    def _require_data(self) -> None:
        """Check that the volume of a proven server exists: a server must not start without its data.

        Raises:
            Conflict: the volume is gone or is being deleted.
        """
        record = self._store.load()
        if record is None or not record.fingerprints:
            return
        for ref in self._store.inventory():
            if ref.kind != PVC.name:
                continue
            live = objects.get(self._session, PVC, ref.name)
            if live is None:
                raise Conflict(
                    f"volume {ref.name} is gone, and with it all runs; nothing was changed",
                    hint=Remedy.BEGIN_ANEW.of(name=self._name),
                )
            if live["metadata"].get("deletionTimestamp"):
                raise Conflict(
                    f"somebody has deleted volume {ref.name}: it goes, with all runs, as soon as no pod uses it",
                    hint="save what is on it while the server runs; nothing was changed",
                )

    def _require_not_leaving(self, ref: Ref, deadline: Deadline) -> None:
        """Wait until an object that is being deleted is gone: an apply to it would be lost."""
        while (live := objects.get(self._session, KINDS[ref.kind], ref.name)) and live["metadata"].get(
            "deletionTimestamp"
        ):
            deadline.require(f"{ref} is still being deleted")
            time.sleep(_POLL_SECONDS)

    def _stored_stack(self) -> Stack | None:
        """Return the Stack of the stored record, None without a readable record."""
        with suppress(StateError):  # a damaged record must not prevent a delete
            if record := self._store.load():
                return build(record.spec, self.platform(record.spec, record.assigned), record.assigned)
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
        existing = [str(ref) for ref in refs if self._own(ref) is not None]
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
            self._delete(group, deadline)
            if workload is not None and workload not in staying:
                self._workloads.await_no_pods(workload, deadline)

    def _own(self, ref: Ref) -> Manifest | None:
        try:
            live = objects.get(self._session, KINDS[ref.kind], ref.name)
        except UnknownApi:
            return None  # the API was removed from the cluster, together with the object
        return live if live and is_own(live, self._name) else None

    def _delete(self, refs: Sequence[Ref], deadline: Deadline) -> None:
        gone = [live for ref in refs if (live := self._own(ref)) is not None]
        for live in gone:
            objects.delete(self._session, live)
        for live in gone:
            ref = ref_of(live)
            while (now := self._own(ref)) and now["metadata"]["uid"] == live["metadata"]["uid"]:
                deadline.require(f"{ref} is still being deleted")
                time.sleep(_POLL_SECONDS)

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


def _never_bound(live: Manifest) -> bool:
    unbound = not live["spec"].get("volumeName") and (live.get("status") or {}).get("phase") == "Pending"
    return live["kind"] == PVC.name and unbound
