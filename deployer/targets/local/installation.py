"""Installs the software of workloads: virtual environments of this machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deployer.core.errors import UsageError
from deployer.core.outcome import Done, Outcome, Waiting
from deployer.core.stack import SERVER, Workload
from deployer.targets import Deadline, Software
from deployer.targets.local.environment import Environment


def environment_of(state: Path, workload: Workload) -> Environment:
    """Return the environment that a workload runs in; workloads of one package and interpreter share it."""
    return Environment(state, workload.package, workload.interpreter)


class LocalInstallation:
    """The environments of one user."""

    def __init__(self, state: Path, waiting: Callable[[str], None]) -> None:
        self._state = state
        self._waiting = waiting

    def prepared(self, workloads: Sequence[Workload]) -> Outcome:
        """Tell whether the environments are complete."""
        for workload in workloads:
            if not environment_of(self._state, workload).ready():
                return Waiting(f"{workload.package.title} is not installed")
        return Done(", ".join(dict.fromkeys(workload.package.title for workload in workloads)))

    def prepare(self, workloads: Sequence[Workload], deadline: Deadline) -> None:
        """Create the environments."""
        for workload in workloads:
            environment_of(self._state, workload).make(deadline, self._waiting)

    def software(self, workloads: Sequence[Workload]) -> Software:
        """Return the hash of the packages in the environment of the workload `server`."""
        servers = [workload for workload in workloads if workload.name == SERVER]
        try:
            return Software(packages=environment_of(self._state, servers[0]).packages()) if servers else Software()
        except UsageError:  # the interpreter of the environment is gone
            return Software()
