"""The places where servers run, behind interfaces: Store keeps records, Runtime runs servers, Access reaches them."""

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
    """The moment at which a command gives up; it is passed on and never restarted."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that is `seconds` from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """The remaining seconds, at least 0."""
        return max(0.0, self.at - time.monotonic())

    def require(self, what: str) -> None:
        """Raise NotReady if no time is left; `what` says what is not ready."""
        if not self.left:
            raise NotReady(
                f"{what}: the time given is over", hint="give more time with --timeout SECONDS, or try again"
            )


LiveState = Literal["running", "stopped", "crashed", "rebooted", "elsewhere"]
TargetKind = Literal["local", "kubernetes"]
ChangeKind = Literal["create", "update", "rotate", "stop", "delete", "delete data"]


@dataclass(frozen=True)
class Live:
    """The observed state of a server.

    `identity` identifies one start of the server; `fingerprint` is a hash of the settings of this start. `ready` is
    None if only the server itself can tell. `host` is the server's machine if that is another one.
    """

    state: LiveState
    detail: str = ""
    identity: str | None = None
    fingerprint: str | None = None
    ready: bool | None = None
    host: str | None = None


@dataclass(frozen=True)
class Software:
    """The software that a server runs, identified by its content; None if unknown.

    On this machine, `packages` is the SHA-256 of the output of `pip freeze` for the server's environment. On a cluster,
    `image` is the reference in the pod's spec, and `digest` is the digest that the node pulled.
    """

    packages: str | None = None
    image: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Circumstances:
    """Where a server's data is, and when the server was started; None if unknown.

    `size` is in bytes. If counting took too long, `counted` is False and the real size is larger.
    """

    data: str | None = None
    size: int | None = None
    counted: bool = True
    since: datetime | None = None


@dataclass(frozen=True)
class Program:
    """Python source, and its standard input, which may contain secrets."""

    source: str
    stdin: str = field(repr=False)


@dataclass(frozen=True)
class Observed:
    """The state of a server at one moment."""

    record: Record | None
    secrets: Secrets | None
    live: Live
    ready: bool


class Store(Protocol):
    """Keeps a server's record and secrets."""

    def load(self) -> Record | None:
        """Return the record, None without one."""

    def save(self, record: Record) -> Record:
        """Replace the stored record and return the new one.

        Raises:
            Conflict: the version of the stored record is not `record.version`.
        """

    def known(self) -> bool:
        """Tell whether anything of the server exists, including the remains of an interrupted delete."""

    def secrets(self) -> Secrets | None:
        """Return the stored secrets, None without any."""

    def create_if_absent(self, secrets: Secrets) -> Secrets:
        """Store `secrets` unless some exist already; return the stored ones."""

    def patch_secrets(self, values: Mapping[SecretRef, str | None]) -> None:
        """Store these values and remove the keys whose value is None; keep all others."""

    def existing_secrets(self) -> frozenset[str]:
        """Return which of the two secrets exist, even if they are incomplete."""

    def secret_name(self, secret: str) -> str:
        """Return the display name of one of the two secrets, and its last change if known."""

    def lock(self, reason: str, deadline: Deadline, waiting: Callable[[str], None]) -> AbstractContextManager[None]:
        """Lock the server for one deployer; call `waiting` with the current holder."""

    def in_use(self) -> bool:
        """Tell whether another deployer works on the server, or was killed and has left traces."""

    def require_rights(self, change: ChangeKind) -> None:
        """Check, without a write, that the user may make such a change, as far as this can be asked.

        Raises:
            Forbidden: the user may not.
        """

    def forget(self, *, data: bool, deadline: Deadline) -> None:
        """Delete everything but data, credentials and ports; with `data`, delete those too."""


class Runtime(Protocol):
    """Runs a server."""

    def platform(self, spec: Spec, before: Assigned) -> Platform:
        """Return the platform of this machine or cluster."""

    def prepared(self, spec: Spec) -> Outcome:
        """Tell whether the software that the server needs is installed."""

    def prepare(self, spec: Spec, deadline: Deadline) -> None:
        """Install the software that the server needs."""

    def check(self, spec: Spec, before: Assigned) -> None:
        """Raise any error that this spec would cause here, before anything is stored."""

    def assigned(self, spec: Spec, before: Assigned) -> bool:
        """Tell whether `before` has everything that this spec needs from the machine or cluster."""

    def predict_assignment(self, spec: Spec, before: Assigned) -> Assigned:
        """Return what `assign` would return after `before`, as far as that is known without asking the cluster."""

    def assign(self, spec: Spec, before: Assigned, deadline: Deadline) -> AbstractContextManager[Assigned]:
        """Reserve an address for this spec until it is stored; keep what `before` already has."""

    def pending(self, stack: Stack, spec: Spec, live: Live) -> tuple[Change, ...]:
        """Return what `apply` would change; empty if `stack` runs already. Shows no secrets."""

    def drift(self, stack: Stack, spec: Spec, live: Live) -> tuple[Change, ...]:
        """Return all differences from `stack`, including changes by others; a superset of `pending`."""

    def apply(self, stack: Stack, spec: Spec, secrets: Secrets, deadline: Deadline) -> None:
        """Make `stack` run; replace the running server."""

    def observe(self) -> Live:
        """Return the current state."""

    def software(self, spec: Spec) -> Software:
        """Return the software that the server runs, as far as it can be observed."""

    def explain(self, live: Live) -> str:
        """Return why the server is not ready, or a description of the running server."""

    def circumstances(self, spec: Spec, live: Live) -> Circumstances:
        """Return facts that take longer to collect than the result of `observe`."""

    def stop(self, deadline: Deadline) -> None:
        """Stop the server; keep its data."""

    def remains(self) -> tuple[str, ...]:
        """Return what `remove` would remove."""

    def remove(self, deadline: Deadline) -> None:
        """Stop the server and remove everything that `apply` has made, except data."""

    def wait(self, assigned: Assigned, deadline: Deadline) -> None:
        """Wait until the server is ready.

        Raises:
            NotReady: the server is not ready by the deadline, or has ended; the message contains its last output.
        """

    def execute(self, stack: Stack, spec: Spec, secrets: Secrets, work: Program, deadline: Deadline) -> None:
        """Run a program with the server's Python, settings and databases, beside the running server.

        Raises:
            ServerRefused: the program failed; the message contains its last output.
        """

    def logs(self, tail: int, *, follow: bool) -> Iterator[str]:
        """Yield lines of the server's log, beginning with the last `tail` lines."""


class Access(Protocol):
    """Reaches a server."""

    def endpoint(self, assigned: Assigned) -> Endpoint:
        """Return the address that clients use."""

    def open(self, assigned: Assigned, deadline: Deadline | None = None) -> AbstractContextManager[Endpoint]:
        """Yield an address that answers from here: the clients' address, or a tunnel if clients connect from elsewhere.

        With a deadline, wait for an address that may be new.

        Raises:
            NotReady: the address does not answer by the deadline; the message says why.
        """

    def ready(self, assigned: Assigned) -> bool:
        """Tell whether the server answers and reads its databases, within a second."""


class Foreground(Protocol):
    """Follows a server that runs as a process of this machine."""

    def hold(self) -> AbstractContextManager[None]:
        """Make this the only foreground command of the server.

        Raises:
            Conflict: another command has the server in the foreground.
        """

    def stay(self, wake: int, line: Callable[[str], None], *, whole: bool) -> bool:
        """Pass on the server's output until the server ends (False) or the descriptor `wake` becomes readable (True).

        `whole` starts with the first line of the log instead of the next new line.
        """


@dataclass(frozen=True)
class Target:
    """One server in its place; `where` describes the place, `options` select it on a command line.

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
        """Return the platform of this machine or cluster."""
        return self.runtime.platform(spec, assigned)

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
