"""Status: reports a server's state, address, versions and data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from deployer.core.errors import NotFound
from deployer.core.remedies import Remedy
from deployer.targets import Circumstances, Observed, Software, Target

_LAST_LINES: Final = 6  # the whole output fits on a terminal of 24 lines


@dataclass(frozen=True)
class View:
    """One server; `state` is ready, starting, stopped, crashed, rebooted, elsewhere or deleted (data kept)."""

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
        """Return the view as JSON-compatible data."""
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


@dataclass(frozen=True)
class Examined:
    """One server with the facts that take longer to collect; `log` has the last lines of a crashed server."""

    view: View
    circumstances: Circumstances
    software: Software
    log: tuple[str, ...]
    now: datetime

    @property
    def uptime(self) -> float | None:
        """Seconds since the server was started, None if that is not known."""
        since = self.circumstances.since
        return max(0.0, (self.now - since).total_seconds()) if since else None

    def document(self) -> dict[str, Any]:
        """Return the view and the facts as JSON-compatible data."""
        found = self.circumstances
        return {
            **self.view.document(),
            "data": found.data,
            "dataBytes": found.size,
            "dataCounted": found.counted,
            "since": found.since.isoformat(timespec="seconds") if found.since else None,
            "uptimeSeconds": None if self.uptime is None else round(self.uptime),
            "packages": self.software.packages,
            "image": self.software.image,
            "imageDigest": self.software.digest,
            "log": list(self.log),
        }


def status(target: Target) -> View:
    """Return a server's view.

    Raises:
        NotFound: the server does not exist.
    """
    return _view(target, target.observe_public())


def examine(target: Target) -> Examined:
    """Return a server's view, and the facts that take longer to collect.

    Raises:
        NotFound: the server does not exist.
    """
    observed = target.observe_public()
    view = _view(target, observed)
    stack = target.stack(observed.record.spec, observed.record.assigned) if observed.record else None
    return Examined(
        view,
        target.runtime.circumstances(stack, observed.live) if stack else Circumstances(),
        target.installation.software(stack.workloads) if stack else Software(),
        tuple(target.runtime.logs(observed.live.workload, _LAST_LINES, follow=False))
        if view.state == "crashed"
        else (),
        datetime.now(UTC),
    )


def _view(target: Target, observed: Observed) -> View:
    record = observed.record
    if record is None:
        raise NotFound(f"there is no server {target.name!r} here", hint=Remedy.LIST_SERVERS)
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
