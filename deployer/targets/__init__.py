"""Where servers live. Three seams: Store keeps what is known, Runtime runs the parts, Access reaches the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from deployer.core.assigned import Assigned
from deployer.core.errors import NotReady
from deployer.core.platform import Platform
from deployer.core.record import Record
from deployer.core.secrets import Secrets
from deployer.core.spec import Spec
from deployer.core.stack import Stack
from deployer.tracking.client import Endpoint


@dataclass(frozen=True)
class Deadline:
    """A moment after which a command gives up; passed on, never restarted."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """Seconds that are left, at least 0."""
        return max(0.0, self.at - time.monotonic())

    def require(self, what: str) -> None:
        """Raise NotReady when no time is left; `what` says what was not ready."""
        if not self.left:
            raise NotReady(
                f"{what}: the time given is over", hint="give more time with --timeout SECONDS, or try again"
            )


LiveState = Literal["running", "stopped", "crashed", "rebooted", "elsewhere"]


@dataclass(frozen=True)
class Live:
    """What runs. `identity` is that very incarnation; `fingerprint` is what it was started from."""

    state: LiveState
    detail: str = ""
    identity: str | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class Observed:
    """Everything about a server at one moment."""

    record: Record | None
    secrets: Secrets | None
    live: Live
    ready: bool


class Store(Protocol):
    """Keeps a server's record and secrets."""

    def load(self) -> Record | None:
        """Return the record, None when there is none."""

    def save(self, record: Record) -> Record:
        """Replace the record of version `record.version`; return the stored one. Conflict when it is not that."""

    def known(self) -> bool:
        """Tell whether anything of the server is there, be it the remains of a half-done delete."""

    def secrets(self) -> Secrets | None:
        """Return the stored secrets, None when there are none."""

    def claim(self, secrets: Secrets) -> Secrets:
        """Store `secrets` unless there are some already; return those that are stored."""

    def lock(self, reason: str, deadline: Deadline, waiting: Callable[[str], None]) -> AbstractContextManager[None]:
        """Hold the server for one deployer. `waiting` is told who holds it meanwhile."""

    def forget(self, *, data: bool) -> None:
        """Drop everything but data, credentials and ports; with `data`, those too."""


class Runtime(Protocol):
    """Runs the parts of a server."""

    def prepared(self, spec: Spec) -> bool:
        """Tell whether what the server's programs need is there."""

    def prepare(self, spec: Spec, deadline: Deadline) -> None:
        """Make it."""

    def check(self, spec: Spec, before: Assigned) -> None:
        """Raise what the place can say against this spec, before anything is stored."""

    def assigned(self, spec: Spec, before: Assigned) -> bool:
        """Tell whether `before` is all that this spec needs from the place."""

    def assign(self, spec: Spec, before: Assigned, deadline: Deadline) -> AbstractContextManager[Assigned]:
        """Hold what the place gives this spec until it is stored, keeping what it gave `before`."""

    def fingerprint(self, stack: Stack, spec: Spec) -> str:
        """Return a hash of what would run; equal hashes mean nothing to apply. Holds no secret."""

    def apply(self, stack: Stack, spec: Spec, secrets: Secrets, deadline: Deadline) -> None:
        """Make `stack` run in place of whatever ran."""

    def observe(self) -> Live:
        """Return what runs now."""

    def stop(self, deadline: Deadline) -> None:
        """End it; data stays."""

    def wait(self, endpoint: Endpoint, deadline: Deadline) -> None:
        """Return when the server is ready; NotReady with its last words when it is not by then, or has died."""

    def logs(self, tail: int, *, follow: bool) -> Iterator[str]:
        """Yield lines of the server's log, the last `tail` first."""


class Access(Protocol):
    """Reaches a server."""

    def endpoint(self, assigned: Assigned) -> Endpoint:
        """Return the address that clients use."""

    def ready(self, endpoint: Endpoint) -> bool:
        """Tell whether the server answers and reads its databases, within a second."""


@dataclass(frozen=True)
class Target:
    """One server's place."""

    name: str
    platform: Platform
    store: Store
    runtime: Runtime
    access: Access

    def observe(self) -> Observed:
        """Return everything about the server now."""
        record = self.store.load()
        live = self.runtime.observe()
        ready = False
        if record and live.state == "running" and record.assigned.ports:
            ready = self.access.ready(self.access.endpoint(record.assigned))
        return Observed(record, self.store.secrets(), live, ready)
