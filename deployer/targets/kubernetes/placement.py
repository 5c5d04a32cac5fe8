"""Chooses host and port of a server on a cluster, and learns from the cluster what it assigns."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from deployer.core.errors import Conflict, NotReady, UsageError
from deployer.core.manifests.manifest import PVC, ROUTE, Ref, ref_of
from deployer.core.remedies import Remedy
from deployer.core.spec.platform import PROFILES, Platform, recognised
from deployer.core.spec.routes import require_host_label
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import build
from deployer.core.stack.model import Stack
from deployer.core.status.admission import RouteState, route_state
from deployer.kube import objects
from deployer.kube.session import Session
from deployer.targets import Deadline
from deployer.targets.kubernetes.manifests import manifests_of
from deployer.targets.kubernetes.own_objects import OwnObjects
from deployer.targets.kubernetes.store import KubernetesStore

PORT: Final = 5000
_POLL_SECONDS: Final = 0.2
_ADMISSION_SECONDS: Final = 30.0  # routers answer within a second


def platform_of(session: Session, spec: Spec, before: Assigned) -> Platform:
    """Return the platform from the spec or the record, else detect it from the cluster's address and API groups."""
    known = spec.spec.profile or before.profile
    if known:
        return PROFILES[known]
    context = session.context
    return recognised(context.server, context.name, session.api_groups())


class KubernetesPlacement:
    """The place of one server. `pending` tells what an apply of a Stack would change, or raises why it cannot be."""

    def __init__(
        self,
        session: Session,
        store: KubernetesStore,
        own: OwnObjects,
        name: str,
        note: Callable[[str], None],
        pending: Callable[[Stack], object],
    ) -> None:
        self._session = session
        self._store = store
        self._objects = own
        self._name = name
        self._note = note
        self._pending = pending

    def platform(self, spec: Spec, before: Assigned) -> Platform:
        """Return the platform from the spec or the record, else detect it."""
        return platform_of(self._session, spec, before)

    def check(self, spec: Spec, before: Assigned) -> None:
        """Validate every object with a server-side dry run before anything is stored."""
        self._store.require_names()
        self._require_data()
        assigned = self.predict_assignment(spec, before)
        if assigned.host:
            self._store.require_host(assigned.host)
        self._pending(build(spec, platform_of(self._session, spec, before), assigned))

    def assigned(self, spec: Spec, before: Assigned) -> bool:
        """Tell whether host and port match the spec, and whether a Route still has the host that was assigned."""
        if before != self.predict_assignment(spec, before):
            return False
        if before.exposure != ROUTE.name.lower():
            return True
        live = self._objects.get(Ref(ROUTE.name, self._name))
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
        stack = build(spec, platform_of(self._session, spec, before), dataclasses.replace(assigned, host=None))
        (manifest,) = [manifest for manifest in manifests_of(stack) if manifest["kind"] == ROUTE.name]
        self._store.save_inventory({*self._store.inventory(), ref_of(manifest)})
        self._objects.apply(manifest, deadline)
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
            live = self._objects.get(Ref(ROUTE.name, self._name))
            state = route_state(live) if live else RouteState()
            if state.host:
                return state
            if state.problem:
                raise Conflict(state.problem.reason, hint=state.problem.hint)
            if not limit.left:
                raise NotReady(
                    f"no router has admitted Route {self._name} in {_ADMISSION_SECONDS:.0f} seconds",
                    hint=Remedy.CHECK_ROUTES,
                )
            time.sleep(_POLL_SECONDS)

    def predict_assignment(self, spec: Spec, before: Assigned) -> Assigned:
        """Return host and port, which follow from the spec.

        Raises:
            UsageError: the spec needs a host name for its public address, or the host name would be too long.
        """
        platform = platform_of(self._session, spec, before)
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
