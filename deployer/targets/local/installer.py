"""Runs the commands of an installer (uv, venv, pip); none of them outlives deployer."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Final

# `python -m pip` imports from its working directory, and uv reads uv.toml and pyproject.toml there and in all parent
# folders. Other users may be able to write to those; only root can write to this one.
FOLDER: Final = "/"
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_TERM_SECONDS: Final = 3.0
_KILL_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02
_LIBC: Final = ctypes.CDLL(None, use_errno=True)  # loaded before the fork: the child must not import anything


def run(command: Sequence[str], *, env: Mapping[str, str], log: IO[bytes], lock: int, seconds: float) -> int:
    """Run `command` as a process group of its own and return its exit code; `log` receives its output.

    The command inherits the descriptor `lock`, so no other deployer starts while a part of the installer still writes.
    The whole group is ended if this function raises, and if deployer is killed.

    Raises:
        subprocess.TimeoutExpired: the command took longer than `seconds`.
        OSError: the command cannot be started.
    """
    process = subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(lock,), cwd=FOLDER,
        process_group=0, preexec_fn=_ends_with(os.getpid()),  # noqa: PLW1509  # no other thread runs while it forks
    )  # fmt: skip
    try:
        return process.wait(seconds)
    except BaseException:
        _end(process)
        raise


def _ends_with(parent: int) -> Callable[[], None]:
    """Return a function for the child process: the kernel then kills the child when `parent` ends for any reason."""

    def ask() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before the call
            os.kill(os.getpid(), signal.SIGKILL)

    return ask


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group with SIGTERM, then SIGKILL."""
    for number, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _KILL_SECONDS)):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            process.poll()  # reap the group's leader, else the group still exists
            if not _exists(process.pid):
                return
            time.sleep(_POLL_SECONDS)


def _exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
