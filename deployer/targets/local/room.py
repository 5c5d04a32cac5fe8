"""The disk space that a server takes, and a check for it before anything is written."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deployer.core.errors import StateError

_MIB: Final = 1 << 20
_BLOCK: Final = 512  # bytes, on every file system: stat(2), st_blocks
# measured: 861 MiB with MLflow 3.17.2, boto3, their dependencies and the compiled files
ENVIRONMENT_BYTES: Final = 900 * _MIB
# both databases take 1.1 MiB after the first proof, and twice as much during their creation
DATA_BYTES: Final = 8 * _MIB


@dataclass(frozen=True)
class Need:
    """A number of bytes that a folder must have free, and their purpose; the folder need not exist yet."""

    folder: Path
    size: int
    purpose: str

    def __str__(self) -> str:
        return f"{mib(self.size)} for {self.purpose}"


def mib(size: int) -> str:
    """Format a number of bytes in MiB."""
    return f"{size / _MIB:.1f}".removesuffix(".0") + " MiB" if size < 10 * _MIB else f"{size // _MIB} MiB"


def used(folder: Path, seconds: float) -> tuple[int, bool]:
    """Return the bytes on disk that a folder takes, and whether everything was counted within `seconds`."""
    until, total, waiting = time.monotonic() + seconds, 0, [folder]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if time.monotonic() > until:
                        return total, False
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        total += entry.stat(follow_symlinks=False).st_blocks * _BLOCK
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(Path(entry.path))
        except OSError:  # the folder was deleted meanwhile, or belongs to somebody else
            continue
    return total, True


def require_room(needs: Sequence[Need]) -> None:
    """Check the free space of each file system.

    Raises:
        StateError: a file system has less free space than is needed on it.
    """
    by_disk: dict[int, list[Need]] = {}
    for need in needs:
        by_disk.setdefault(os.stat(_existing(need.folder)).st_dev, []).append(need)
    for together in by_disk.values():
        disk = os.statvfs(_existing(together[0].folder))
        free, wanted = disk.f_bavail * disk.f_frsize, sum(need.size for need in together)
        if free < wanted:
            raise StateError(
                f"not enough room in {together[0].folder}: {mib(wanted)} are needed "
                f"({', '.join(map(str, together))}), {mib(free)} are free; nothing was changed",
                hint="free some space, or set XDG_STATE_HOME to a directory on a larger disk",
            )


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
