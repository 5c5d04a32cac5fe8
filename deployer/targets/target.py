"""One server in its place: its state, and the interfaces through which operations reach it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from deployer.core.remedies import ServerRef
from deployer.core.secrets.values import Secrets
from deployer.core.spec.platform import Platform
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import build
from deployer.core.stack.model import Stack
from deployer.core.stack.record import Record
from deployer.targets.access import Access
from deployer.targets.capabilities import Capabilities
from deployer.targets.installation import Installation
from deployer.targets.live import Live
from deployer.targets.placement import Placement
from deployer.targets.runtime import Runtime
from deployer.targets.store import Store

TargetKind = Literal["local", "kubernetes"]


@dataclass(frozen=True)
class Observed:
    """The state of a server at one moment."""

    record: Record | None
    secrets: Secrets | None
    live: Live
    ready: bool


@dataclass(frozen=True)
class Target:
    """One server in its place; `where` describes the place.

    `namespace` is None on this machine. `context` is a context of the kubeconfig, None on this machine and in a pod.
    """

    name: str
    kind: TargetKind
    where: str
    namespace: str | None
    context: str | None
    capabilities: Capabilities
    store: Store
    placement: Placement
    installation: Installation
    runtime: Runtime
    access: Access

    @property
    def ref(self) -> ServerRef:
        """The server's name and place."""
        return ServerRef(self.name, self.namespace, self.context)

    def needs_tunnel(self, assigned: Assigned) -> bool:
        """Tell whether clients outside the cluster need a tunnel, because the server is not published."""
        return self.capabilities.exposes and not assigned.host

    def platform(self, spec: Spec, assigned: Assigned) -> Platform:
        """Return the platform of this machine or cluster."""
        return self.placement.platform(spec, assigned)

    def stack(self, spec: Spec, assigned: Assigned) -> Stack:
        """Return the parts of the server; without workloads as long as its address is not assigned."""
        return build(spec, self.platform(spec, assigned), assigned)

    def observe(self) -> Observed:
        """Return the current state of the server."""
        return replace(self.observe_public(), secrets=self.store.secrets())

    def observe_public(self) -> Observed:
        """Return the current state without secrets, which many users with read access may not read."""
        record = self.store.load()
        live = self.runtime.observe()
        ready = live.ready
        if ready is None:
            asked = record is not None and live.state == "running" and bool(record.assigned.ports)
            ready = asked and record is not None and self.access.ready(record.assigned)
        return Observed(record, None, live, ready)
