"""Advisory file locks; the kernel releases them when their holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deployer.core.errors import Conflict, StateError
from deployer.targets import Deadline

_POLL_SECONDS: Final = 0.1
_PROCESS: Final = re.compile(r"\(process (?P<pid>[0-9]+) on (?P<host>[^()]+)\)$")
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})  # a full disk, a used-up quota
_UNSUPPORTED: Final = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Try to take an exclusive or a shared lock without waiting; return False if another process holds it.

    Processes that only observe take a shared lock.

    Raises:
        StateError: the file system has no file locks.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            raise StateError(
                "the file system of the state directory has no file locks",
                hint="set XDG_STATE_HOME to a directory on a local disk",
            ) from error
        raise
    return True


def sweep(folder: Path) -> None:
    """Remove lock files without a holder: their holders were killed between release and removal."""
    for path in folder.glob(".*.lock"):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            if try_lock(descriptor) and _is_at(descriptor, path):
                path.unlink()
        finally:
            os.close(descriptor)


@contextmanager
def hold(path: Path, reason: str, deadline: Deadline, waiting: Callable[[str], None]) -> Iterator[int]:
    """Hold the lock at `path` and yield its descriptor.

    The file exists only while a process holds the lock or waits for it. The lock also works on a full disk, because the
    commands that free disk space need it too.

    Raises:
        Conflict: another process still holds the lock at the deadline.
    """
    told = False
    while True:
        descriptor, locked = _opened(path)
        try:
            if try_lock(descriptor):
                if _is_at(descriptor, locked):
                    break
                os.close(descriptor)  # the previous holder has removed this file: lock the new one
                continue
            holder = _described(_words(descriptor) if locked == path else "")
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        if not told:
            waiting(holder)
            told = True
        if not deadline.left:
            raise Conflict(f"{holder} is still at work here", hint="try again when it has ended")
        time.sleep(min(_POLL_SECONDS, deadline.left))
    try:
        if locked == path:
            _write(descriptor, f"{reason} (process {os.getpid()} on {socket.gethostname()})")
        yield descriptor
    finally:
        if locked == path and _is_at(descriptor, path):
            path.unlink()
        os.close(descriptor)


def _opened(path: Path) -> tuple[int, Path]:
    """Open the lock file at `path`; on a full disk open its directory instead."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), path
    except OSError as error:
        if error.errno not in FULL:
            raise
    return os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), path.parent


def _write(descriptor: int, words: str) -> None:
    """Write the holder's description into the lock file. On a full disk the lock works without it."""
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, words.encode(), 0)
    except OSError as error:
        if error.errno not in FULL:
            raise


def _words(descriptor: int) -> str:
    return os.pread(descriptor, 300, 0).decode("utf-8", "replace")


def _described(holder: str) -> str:
    """Return the description of a lock's holder, or of the children that a dead holder left behind."""
    if not holder:
        return "another deployer"
    named = _PROCESS.search(holder)
    if named and named["host"] == socket.gethostname() and not Path("/proc", named["pid"]).exists():
        # a child has inherited the lock and still runs
        return f"what is left of {holder[: named.start()].rstrip()!r} (process {named['pid']} has ended)"
    return holder


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
