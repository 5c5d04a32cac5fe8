"""A full disk at every stage: a clear message, no lost data, and the same command continues once there is space.

Needs root to mount a small file system.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.killing import stopped_after
from tests.support.machine import Machine

ROOM = "2g"


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[None]:
    """Mount a file system of that size at `path` until the block ends."""
    path.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def grow(path: Path, size: str = ROOM) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(path)], check=True)


def fill(path: Path, left: str) -> None:
    """Fill a small disk until only so much space is free."""
    subprocess.run(["mount", "-o", f"remount,size={left}", str(path)], check=True)


@pytest.mark.parametrize("size", ["8k", "16k", "24k", "32k", "64k", "128k", "256k", "512k", "1m", "1500k", "2m"])
def test_a_full_disk_during_create_is_reported_and_create_continues_with_more_space(
    bare_machine: Machine, environments: Path, size: str
) -> None:
    machine = bare_machine
    with small_disk(machine.state, "16m"):
        (machine.state / "environments").symlink_to(environments)
        # existing files keep their blocks; the command has checked the free space by now
        creating = stopped_after(machine, "[2/7] record", "create", "--target", "local", "--timeout", "60")
        fill(machine.state, size)
        os.killpg(creating.pid, signal.SIGCONT)
        _, err = creating.communicate(timeout=180)
        if creating.returncode:
            assert creating.returncode in {1, 3}
            assert any(
                words in err for words in ("no room left", "disk is full", "cannot store an artifact", "disk I/O")
            )
            assert "Traceback" not in err.partition("NotReady")[0]
        grow(machine.state)
        machine.create()
        assert machine.json("status")["proven"] is True
        assert machine.remains() == []
        assert len(machine.processes()) == 1
        machine.run("delete", "--delete-data", "--yes")
        machine.end()


def test_a_full_disk_during_an_installation_is_reported_without_a_retry_with_pip(
    bare_machine: Machine,
) -> None:
    machine = bare_machine
    with small_disk(machine.state, ROOM):
        creating = stopped_after(machine, "[1/7] environment", "create", "--target", "local")
        fill(machine.state, "100m")
        os.killpg(creating.pid, signal.SIGCONT)
        _, err = creating.communicate(timeout=180)
        assert creating.returncode == 1
        assert f"no room left at {machine.state}/environments" in err
        assert machine.processes() == []
        assert [path.name for path in (machine.state / "environments").iterdir() if path.is_dir()] == []
        grow(machine.state)
        machine.create()
        assert machine.remains() == []
        machine.run("delete", "--delete-data", "--yes")
        machine.end()


def test_verify_reports_a_full_disk_and_nothing_is_lost(bare_machine: Machine, environments: Path) -> None:
    machine = bare_machine
    with small_disk(machine.state, "16m"):
        (machine.state / "environments").symlink_to(environments)
        machine.create()
        filled = subprocess.run(["dd", "if=/dev/zero", f"of={machine.state}/filler", "bs=64k"], check=False)
        assert filled.returncode == 1  # `dd` ends when the disk is full
        failed = machine.run("verify", code=1)
        assert "VerificationFailed" in failed.stderr
        (machine.state / "filler").unlink()
        machine.run("verify")
        machine.run("delete", "--delete-data", "--yes")
        machine.end()
