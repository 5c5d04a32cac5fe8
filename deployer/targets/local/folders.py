"""The files of each workload in the folder of its server."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deployer.core.stack import SERVER


@dataclass(frozen=True)
class WorkloadFolder:
    """The files of one workload, except its volumes."""

    name: str
    path: Path

    @property
    def process(self) -> Path:
        """The process record, which exists from the start of the workload until `deployer stop`."""
        return self.path / "process.json"

    @property
    def log(self) -> Path:
        """The log of the current run; `.log.1` is the log of the run before."""
        return self.path / f"{self.name}.log"

    @property
    def files(self) -> Path:
        """The folder of the configuration and plugin files."""
        return self.path / "files"

    @property
    def temporary(self) -> Path:
        """The workload's private temporary folder."""
        return self.path / "tmp"


def folder_of(server: Path, workload: str) -> WorkloadFolder:
    """Return the files of a workload. `server` is the server's folder: the workload `server` has its files there.

    Each other workload has a folder `NAME-WORKLOAD` in it.
    """
    return WorkloadFolder(workload, server if workload == SERVER else server / f"{server.name}-{workload}")


def folders_in(server: Path) -> tuple[WorkloadFolder, ...]:
    """Return the files of all workloads that were ever started and not deleted: first the workload `server`."""
    begin = f"{server.name}-"
    others = sorted(path.name.removeprefix(begin) for path in server.glob(f"{begin}*") if path.is_dir())
    return tuple(folder_of(server, name) for name in (SERVER, *others))
