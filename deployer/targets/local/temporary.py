"""The temporary folder of one server, which no other user of the machine can enter or prepare."""

from __future__ import annotations

import shutil
from pathlib import Path

from deployer.core.errors import StateError


def make_private(folder: Path) -> None:
    """Make the folder where it is not there, readable by its owner alone. Its parent is private already.

    Raises:
        StateError: something else is there.
        OSError: it cannot be made.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink():
        raise StateError(f"{folder} is a link to another folder", hint=f"remove it: rm {folder}")
    folder.chmod(0o700)


def clear(folder: Path) -> None:
    """Delete the folder as far as that can be done; a link is removed, and what it leads to stays."""
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
