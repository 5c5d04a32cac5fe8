"""The interface Runtime: runs the programs of a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from deployer.core.changes import Change
from deployer.core.secrets import Secrets
from deployer.core.stack import Stack
from deployer.targets.deadline import Deadline
from deployer.targets.live import Live


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


class Runtime(Protocol):
    """Runs the workloads of a Stack."""

    def pending(self, stack: Stack, live: Live) -> tuple[Change, ...]:
        """Return what `apply` would change; empty if `stack` runs already. Shows no secrets."""

    def drift(self, stack: Stack, live: Live) -> tuple[Change, ...]:
        """Return all differences from `stack`, including changes by others; a superset of `pending`."""

    def apply(self, stack: Stack, secrets: Secrets, deadline: Deadline) -> None:
        """Make `stack` run; replace the running server."""

    def observe(self) -> Live:
        """Return the current state."""

    def explain(self, live: Live) -> str:
        """Return why the server is not ready, or a description of the running server."""

    def circumstances(self, stack: Stack, live: Live) -> Circumstances:
        """Return facts that take longer to collect than the result of `observe`."""

    def stop(self, deadline: Deadline) -> None:
        """Stop the server; keep its data."""

    def remains(self) -> tuple[str, ...]:
        """Return what `remove` would remove."""

    def remove(self, deadline: Deadline) -> None:
        """Stop the server and remove everything that `apply` has made, except data."""

    def wait(self, stack: Stack, deadline: Deadline) -> None:
        """Wait until all workloads of `stack` are ready.

        Raises:
            NotReady: a workload is not ready by the deadline, or has ended; the message contains its last output.
        """

    def execute(self, stack: Stack, secrets: Secrets, work: Program, deadline: Deadline) -> None:
        """Run a program with the server's Python, settings and databases, beside the running server.

        Raises:
            ServerRefused: the program failed; the message contains its last output.
        """

    def logs(self, workload: str, tail: int, *, follow: bool) -> Iterator[str]:
        """Yield lines of a workload's log, beginning with the last `tail` lines."""
