"""The interface Installation: the software that the programs of a server need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from deployer.core.outcome import Outcome
from deployer.core.stack import Workload
from deployer.targets.deadline import Deadline


@dataclass(frozen=True)
class Software:
    """The software that a server runs, identified by its content; None if unknown.

    On this machine, `packages` is the SHA-256 of the output of `pip freeze` for the server's environment. On a cluster,
    `image` is the reference in the pod's spec, and `digest` is the digest that the node pulled.
    """

    packages: str | None = None
    image: str | None = None
    digest: str | None = None


class Installation(Protocol):
    """Installs the software of workloads."""

    def prepared(self, workloads: Sequence[Workload]) -> Outcome:
        """Tell whether the software of the workloads is installed."""

    def prepare(self, workloads: Sequence[Workload], deadline: Deadline) -> None:
        """Install the software of the workloads."""

    def software(self, workloads: Sequence[Workload]) -> Software:
        """Return the software that the workload `server` runs, as far as it can be observed."""
