"""Folders with slow-to-make contents, shared by the processes of a test run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that the first process makes, and that the other processes of the run wait for.

    `make` gets the new folder. If it fails, the next process tries again in another folder.
    """
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the folder of a process is inside the folder of the run
        base = base.parent
    with (base / f"{name}.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if not (made := lock.read()):
            made = str(factory.mktemp(name))
            make(Path(made))
            lock.write(made)
    return Path(made)
