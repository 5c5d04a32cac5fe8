"""Where servers live. Three seams: Store keeps what is known, Runtime runs the parts, Access reaches the server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, Protocol

from deployer.core.assigned import Assigned
from deployer.core.changes import Change
from deployer.core.errors import NotReady
from deployer.core.outcome import Outcome
from deployer.core.platform import Platform
from deployer.core.record import Record
from deployer.core.secrets import Secrets
from deployer.core.spec import Spec
from deployer.core.stack import SecretRef, Stack
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
TargetKind = Literal["local", "kubernetes"]


@dataclass(frozen=True)
class Live:
    """What runs. `identity` is that very incarnation; `fingerprint` is what it was started from.

    `ready` is None where only asking the server itself can tell; `host` is the machine it is on, where that is another.
    """

    state: LiveState
    detail: str = ""
    identity: str | None = None
    fingerprint: str | None = None
    ready: bool | None = None
    host: str | None = None


@dataclass(frozen=True)
class Software:
    """What a server runs, by content; None where that is not known.

    On this machine `packages` is the SHA-256 of what `pip freeze` prints for its environment. On a cluster `image` is
    the reference that its pod was made from, and `digest` what the node pulled.
    """

    packages: str | None = None
    image: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Circumstances:
    """Where a server's data lies, and since when the server runs; None where that is not known.

    `size` is in bytes; where counting would have taken too long, `counted` is False and there are more.
    """

    data: str | None = None
    size: int | None = None
    counted: bool = True
    since: datetime | None = None


@dataclass(frozen=True)
class Program:
    """Python source, and what it reads from standard input, which may be secret."""

    source: str
    stdin: str = field(repr=False)


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

    def create_if_absent(self, secrets: Secrets) -> Secrets:
        """Store `secrets` unless there are some already; return those that are stored."""

    def patch_secrets(self, values: Mapping[SecretRef, str | None]) -> None:
        """Store these values under their names, remove those that are None; all others stay."""

    def existing_secrets(self) -> frozenset[str]:
        """Return which of the two secrets are there, be it not whole."""

    def secret_name(self, secret: str) -> str:
        """Return what people call one of the two secrets here, with what is known of its last change."""

    def lock(self, reason: str, deadline: Deadline, waiting: Callable[[str], None]) -> AbstractContextManager[None]:
        """Hold the server for one deployer. `waiting` is told who holds it meanwhile."""

    def in_use(self) -> bool:
        """Tell whether another deployer is at work on the server, or was killed at it and has left traces."""

    def forget(self, *, data: bool, deadline: Deadline) -> None:
        """Drop everything but data, credentials and ports; with `data`, those too."""


class Runtime(Protocol):
    """Runs the parts of a server."""

    def platform(self, spec: Spec, before: Assigned) -> Platform:
        """Return what this kind of place offers."""

    def prepared(self, spec: Spec) -> Outcome:
        """Tell whether what the server's programs need is there."""

    def prepare(self, spec: Spec, deadline: Deadline) -> None:
        """Make it."""

    def check(self, spec: Spec, before: Assigned) -> None:
        """Raise what the place can say against this spec, before anything is stored."""

    def assigned(self, spec: Spec, before: Assigned) -> bool:
        """Tell whether `before` is all that this spec needs from the place."""

    def predict_assignment(self, spec: Spec, before: Assigned) -> Assigned:
        """Return what `assign` would give a server that has been given `before`, as far as nobody needs to be asked."""

    def assign(self, spec: Spec, before: Assigned, deadline: Deadline) -> AbstractContextManager[Assigned]:
        """Hold what the place gives this spec until it is stored, keeping what it gave `before`."""

    def pending(self, stack: Stack, spec: Spec, live: Live) -> tuple[Change, ...]:
        """Return what `apply` would change; nothing where `stack` runs already. Shows no secret."""

    def drift(self, stack: Stack, spec: Spec, live: Live) -> tuple[Change, ...]:
        """Return what is not as `stack` wants it, be it that somebody else has changed it; a superset of `pending`."""

    def apply(self, stack: Stack, spec: Spec, secrets: Secrets, deadline: Deadline) -> None:
        """Make `stack` run in place of whatever ran."""

    def observe(self) -> Live:
        """Return what runs now."""

    def software(self, spec: Spec) -> Software:
        """Return what the server runs, as far as that can be seen."""

    def explain(self, live: Live) -> str:
        """Return what is known of why it is not ready, or how it runs."""

    def circumstances(self, spec: Spec, live: Live) -> Circumstances:
        """Return what takes longer to find out than what `observe` returns."""

    def stop(self, deadline: Deadline) -> None:
        """End what runs; data stays."""

    def remains(self) -> tuple[str, ...]:
        """Return what `remove` would remove."""

    def remove(self, deadline: Deadline) -> None:
        """Remove all that `apply` has made, but for data; nothing runs afterwards."""

    def wait(self, assigned: Assigned, deadline: Deadline) -> None:
        """Return when the server is ready; NotReady with its last words when it is not by then, or has died."""

    def execute(self, stack: Stack, spec: Spec, secrets: Secrets, work: Program, deadline: Deadline) -> None:
        """Run a program with the server's own Python, settings and databases, beside the running server.

        Raises:
            ServerRefused: it failed; says its last words.
        """

    def logs(self, tail: int, *, follow: bool) -> Iterator[str]:
        """Yield lines of the server's log, the last `tail` first."""


class Access(Protocol):
    """Reaches a server."""

    def endpoint(self, assigned: Assigned) -> Endpoint:
        """Return the address that clients use."""

    def open(self, assigned: Assigned, deadline: Deadline | None = None) -> AbstractContextManager[Endpoint]:
        """Yield an address that answers from here: the clients' own, or a tunnel where they are elsewhere.

        With a deadline one that may just have been made is waited for.

        Raises:
            NotReady: it does not answer by the deadline; says what is in the way.
        """

    def ready(self, assigned: Assigned) -> bool:
        """Tell whether the server answers and reads its databases, within a second."""


class Foreground(Protocol):
    """Stays with a server that runs as a process of this machine."""

    def hold(self) -> AbstractContextManager[None]:
        """Be the only one that does; Conflict where somebody is already."""

    def stay(self, wake: int, line: Callable[[str], None], *, whole: bool) -> bool:
        """Hand on what the server writes, until it ends (False) or the descriptor `wake` becomes readable (True).

        `whole` begins with the first line of its log, and not with what is written from now on.
        """


@dataclass(frozen=True)
class Target:
    """One server's place. `where` names it for people, `options` on a command line.

    `namespace` is None on this machine.
    """

    name: str
    kind: TargetKind
    where: str
    options: tuple[str, ...]
    namespace: str | None
    store: Store
    runtime: Runtime
    access: Access

    def platform(self, spec: Spec, assigned: Assigned) -> Platform:
        """Return what this kind of place offers."""
        return self.runtime.platform(spec, assigned)

    def observe(self) -> Observed:
        """Return everything about the server now."""
        return replace(self.observe_public(), secrets=self.store.secrets())

    def observe_public(self) -> Observed:
        """Return what may be known without its secrets, which many who may look may not read."""
        record = self.store.load()
        live = self.runtime.observe()
        ready = live.ready
        if ready is None:
            asked = record is not None and live.state == "running" and bool(record.assigned.ports)
            ready = asked and record is not None and self.access.ready(record.assigned)
        return Observed(record, None, live, ready)
