"""One server in its place: its state, and the interfaces through which operations reach it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from deployer.core.assigned import Assigned
from deployer.core.components import build
from deployer.core.platform import Platform
from deployer.core.record import Record
from deployer.core.secrets import Secrets
from deployer.core.spec import Spec
from deployer.core.stack import Stack
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
    """One server in its place; `where` describes the place, `options` select it on a command line.

    `kind` and `namespace` are for display; `namespace` is None on this machine.
    """

    name: str
    kind: TargetKind
    where: str
    options: tuple[str, ...]
    namespace: str | None
    capabilities: Capabilities
    store: Store
    placement: Placement
    installation: Installation
    runtime: Runtime
    access: Access

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
