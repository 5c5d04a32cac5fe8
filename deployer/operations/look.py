"""Look: what a person wants to know of a server at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deployer.core.errors import NotFound
from deployer.targets import Software, Target


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
    packages: str | None = None
    image: str | None = None
    image_digest: str | None = None

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
            "packages": self.packages,
            "image": self.image,
            "imageDigest": self.image_digest,
        }


def look(target: Target, *, software: bool = False) -> View:
    """Return a server's view; with `software`, which takes longer, also what it runs by content.

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
    runs = target.runtime.software(record.spec) if software else Software()
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
        packages=runs.packages,
        image=runs.image,
        image_digest=runs.digest,
    )
