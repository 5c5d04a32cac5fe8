"""Server processes on this machine: starts them detached, finds them by their record, and ends only its own."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from deployer.core.errors import Conflict, StateError
from deployer.targets import Deadline, Live
from deployer.targets.local.locks import try_lock

_LISTENER_FD: Final = 3  # the first descriptor in systemd's socket activation protocol (sd_listen_fds(3))
_REGISTERED_FD: Final = 4
_TERM_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.05


@dataclass(frozen=True)
class _Identity:
    """The identity that register.py wrote; a pid is unique only with its start time, boot and machine."""

    pid: int
    start: int
    boot: str
    host: str
    fingerprint: str

    def __str__(self) -> str:
        return f"{self.boot}:{self.pid}:{self.start}"


def observe(record: Path) -> Live:
    """Return the state of the recorded process.

    The process is alive if the record is locked: the kernel releases the lock when the process ends for any reason.
    """
    try:
        descriptor = os.open(record, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return Live("stopped", "never started")
    try:
        alive = not try_lock(descriptor, shared=True)  # two observers must not take each other for the server
        identity = _read(descriptor)
        since = datetime.fromtimestamp(os.fstat(descriptor).st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")
    finally:
        os.close(descriptor)
    if alive:
        if identity is None:
            return Live("running", "starting")
        if identity.boot != _boot_id():  # a network file system shares locks between machines
            return Live("elsewhere", f"it runs on {identity.host} since {since}", str(identity), host=identity.host)
        return Live("running", f"process {identity.pid}", str(identity), identity.fingerprint)
    if identity is None:
        return Live("crashed", "it ended while it was being started")
    if identity.boot == _boot_id():
        return Live("crashed", f"process {identity.pid} has ended")
    if identity.host == socket.gethostname():
        return Live("rebooted", "the machine was restarted since")
    # not every file system shares locks between machines: without a lock, the record counts
    started = f"it was started on {identity.host} on {since} and not stopped since"
    return Live("elsewhere", started, host=identity.host)


def start(
    record: Path,
    *,
    fingerprint: str,
    command: Sequence[str],
    env: Mapping[str, str],
    log: Path,
    listener: socket.socket,
) -> int:
    """Start `command` as a process that outlives this one; return its pid once it is recorded or has died.

    The process gets `listener` as descriptor 3; its standard output and error go to `log`.
    """
    register = Path(__file__).parents[2] / "plugin" / "programs" / "register.py"
    argv = [command[0], "-I", "-S", str(register), str(record), fingerprint, "--", *command]
    registered, registering = os.pipe()
    # a number from 10 up: if 0, 1 or 2 were closed here, the actions below could replace the listener's number
    high = fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD_CLOEXEC, 10)
    with open(os.devnull, "rb") as nothing, open(log, "ab") as output, open(registered, "rb") as end:
        actions = [
            (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, output.fileno(), 2),
            (os.POSIX_SPAWN_DUP2, high, _LISTENER_FD),
            (os.POSIX_SPAWN_DUP2, registering, _REGISTERED_FD),
        ]
        try:
            pid = os.posix_spawn(argv[0], argv, {**env, "LISTEN_FDS": "1"}, file_actions=actions)
        finally:
            os.close(registering)
            os.close(high)
        end.read()  # register.py closes its end when it executes the server
    return pid


def stop(record: Path, deadline: Deadline) -> None:
    """End the recorded process, first with SIGTERM, and remove the record. A reused pid is never signalled."""
    try:
        descriptor = os.open(record, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        while not try_lock(descriptor):
            identity = _read(descriptor)
            if identity is not None:
                _end(identity, deadline)
            deadline.require("the server's process does not end")
            time.sleep(_POLL_SECONDS)
        identity = _read(descriptor)
        if identity and identity.boot != _boot_id() and identity.host != socket.gethostname():
            # another machine has written the record meanwhile, on a file system that does not share locks
            raise Conflict(f"the server is being started on {identity.host}", hint="try again")
        record.unlink()
    finally:
        os.close(descriptor)


def forget(record: Path) -> None:
    """Remove the record of a process that ended with its machine."""
    record.unlink(missing_ok=True)


def watch(record: Path) -> int | None:
    """Return a pidfd that becomes readable when the recorded process ends; None if it has ended or runs elsewhere."""
    try:
        identity = _read_at(record)
        process = os.pidfd_open(identity.pid) if identity else None
    except (FileNotFoundError, ProcessLookupError):
        return None
    if identity and process is not None:
        if _start_of(identity.pid) == identity.start and _boot_id() == identity.boot:
            return process
        os.close(process)
    return None


def _end(identity: _Identity, deadline: Deadline) -> None:
    try:
        process = os.pidfd_open(identity.pid)  # from here on the pid cannot be reused
    except ProcessLookupError:
        return
    try:
        if _start_of(identity.pid) != identity.start or _boot_id() != identity.boot:
            raise StateError(
                f"the server is alive, but not as process {identity.pid}, which its record names",
                hint="it may run in another container that shares this directory; stop it there",
            )
        for number, seconds in ((signal.SIGTERM, _TERM_SECONDS), (signal.SIGKILL, _TERM_SECONDS)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, number)
            if _ended(process, min(seconds, deadline.left)):
                return
    finally:
        os.close(process)


def _ended(process: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _read_at(record: Path) -> _Identity | None:
    descriptor = os.open(record, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _read(descriptor)
    finally:
        os.close(descriptor)


def _read(descriptor: int) -> _Identity | None:
    try:
        data = json.loads(os.pread(descriptor, 4096, 0))
        return _Identity(
            int(data["pid"]), int(data["start"]), str(data["boot"]), str(data["host"]), str(data["fingerprint"])
        )
    except (ValueError, KeyError, TypeError):
        return None  # the record is being written, or its writer was killed


def _start_of(pid: int) -> int | None:
    """Return field 22 of /proc/PID/stat, in clock ticks since boot (proc_pid_stat(5)); None without such a process."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
