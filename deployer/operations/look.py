"""Look: what a person wants to know of a server at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deployer.core.errors import NotFound
from deployer.targets import Target


@dataclass(frozen=True)
class View:
    """One server. `state`: ready, starting, stopped, crashed, rebooted, elsewhere or deleted (data kept)."""

    name: str
    target: str
    namespace: str | None
    state: str
    detail: str
    address: str | None
    username: str | None
    version: str
    proven: bool

    def document(self) -> dict[str, Any]:
        """Return it as JSON-compatible data."""
        return {
            "name": self.name,
            "target": self.target,
            "namespace": self.namespace,
            "state": self.state,
            "detail": self.detail,
            "address": self.address,
            "username": self.username,
            "mlflowVersion": self.version,
            "proven": self.proven,
        }


def look(target: Target) -> View:
    """Return a server's view.

    Raises:
        NotFound: there is no such server.
    """
    observed = target.glance()
    record = observed.record
    if record is None:
        raise NotFound(f"there is no server {target.name!r} here", hint="`deployer list` shows what there is")
    state: str = observed.live.state
    if state == "running":
        state = "ready" if observed.ready else "starting"
    if record.deleted:
        state = "deleted"
    return View(
        name=target.name,
        target=target.kind,
        namespace=target.namespace,
        state=state,
        detail="data and credentials are kept" if record.deleted else target.runtime.explain(observed.live),
        address=target.access.endpoint(record.assigned).url if record.assigned.ports else None,
        username=record.spec.spec.auth.admin_username,
        version=record.spec.spec.mlflow.version,
        proven=record.proof is not None and record.proof == observed.live.identity,
    )
