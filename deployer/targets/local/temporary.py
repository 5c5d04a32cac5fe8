"""The temporary folder of one server; no other user of the machine can enter it or create it first."""

from __future__ import annotations

import shutil
from pathlib import Path

from deployer.core.errors import StateError


def make_private(folder: Path) -> None:
    """Create the folder if it does not exist, and make it private to its owner. Its parent is private already.

    Raises:
        StateError: the folder is a symbolic link.
        OSError: the folder cannot be created.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink():
        raise StateError(f"{folder} is a link to another folder", hint=f"remove it: rm {folder}")
    folder.chmod(0o700)


def clear(folder: Path) -> None:
    """Delete the folder as far as possible; remove a symbolic link but not its destination."""
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
