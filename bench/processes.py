"""Starts, times, measures and ends processes; no process outlives the benchmark.

The benchmark adopts orphans of its child processes (PR_SET_CHILD_SUBREAPER, prctl(2)). All processes that it causes are
therefore its descendants, even a server that detaches itself. It measures and ends all its descendants.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

Command = Sequence[str | Path]

_PR_SET_CHILD_SUBREAPER: Final = 36
_TERM_SECONDS: Final = 20.0
_KILL_SECONDS: Final = 20.0
_REST_SECONDS: Final = 2.0
_REST_CHANGE: Final = 0.02
_REST_LIMIT: Final = 60.0


class Failed(Exception):
    """A contender could not be measured; the text is the reason, `log` is the contender's output."""

    def __init__(self, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.log = log


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise Failed(f"cannot keep track of processes: prctl: {os.strerror(ctypes.get_errno())}")


def free_port() -> int:
    """Return a TCP port of the loopback interface that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def text_of(*logs: Path) -> str:
    """Return the text of all logs that exist."""
    return "\n".join(log.read_text("utf-8", "replace") for log in logs if log.exists())


@contextmanager
def running(
    command: Command, *, env: Mapping[str, str], log: Path, cwd: Path, out: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a new session; end it and its process group at the end of the block.

    Its output goes to `log`, and its standard output to `out` if given.
    """
    with log.open("ab") as errors, (out or log).open("ab") as output:
        process = subprocess.Popen(
            command, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)  # not reaped yet, so the pid is still valid
            if not _ended(process, _TERM_SECONDS):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def run(
    command: Command, *, env: Mapping[str, str], log: Path, cwd: Path, seconds: float, out: Path | None = None
) -> float:
    """Run a command to its end and return the seconds from spawn to exit.

    Raises:
        Failed: it did not end in time, or not with 0.
    """
    begun = time.perf_counter()
    with running(command, env=env, log=log, cwd=cwd, out=out) as process:
        ended = _ended(process, seconds)
        took = time.perf_counter() - begun
        code = process.wait() if ended else None
    if code != 0:
        how = f"did not end within {seconds:.0f} s" if code is None else f"ended with {code}"
        raise Failed(f"{' '.join(map(str, command))}: {how}", text_of(log))
    return took


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Wait for the end without Popen.wait's timeout, which looks only every 50 ms."""
    descriptor = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def descendants() -> list[int]:
    """Return the pids of all descendants of this process."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = list(children.get(os.getpid(), ()))
    for pid in found:  # the list grows during the loop
        found.extend(children.get(pid, ()))
    return found


def memory() -> float:
    """Return the proportional set size of all descendants of this process, in MiB."""
    total = 0
    for pid in descendants():
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it has just ended
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii")
            total += sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


def memory_at_rest() -> tuple[float, int]:
    """Return the memory once it is stable for a couple of seconds, and the number of processes.

    Workers and job runners continue to load after the first response. After a minute, an unstable value counts too.
    """
    limit = time.monotonic() + _REST_LIMIT
    time.sleep(_REST_SECONDS)  # between two measurements of memory; no time is measured here
    before = memory()
    while True:
        time.sleep(_REST_SECONDS)  # as above
        now = memory()
        if abs(now - before) <= _REST_CHANGE * before or time.monotonic() > limit:
            return now, len(descendants())
        before = now


def settings_of(name: str) -> set[str]:
    """Return the values of an environment variable in the descendants of this process."""
    values = set()
    for pid in descendants():
        with contextlib.suppress(OSError):
            pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            values |= {pair.partition(b"=")[2].decode() for pair in pairs if pair.startswith(f"{name}=".encode())}
    return values


def sweep() -> None:
    """End all descendants of this process."""
    limit = time.monotonic() + _KILL_SECONDS
    while left := descendants():
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        if time.monotonic() > limit:
            raise Failed(f"processes do not end: {left}")
        time.sleep(0.02)  # killed processes take a moment to end


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder; at the end, remove it and end all descendants, and ignore signals meanwhile."""
    adopt_orphans()
    folder = Path(tempfile.mkdtemp(prefix="deployer-bench-"))
    try:
        yield folder
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        try:
            sweep()
        finally:
            shutil.rmtree(folder)
