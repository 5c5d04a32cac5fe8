"""Becomes a local server: registers this process, detaches from the terminal, then executes the given command.

    python register.py RECORD FINGERPRINT -- COMMAND...

The program creates and locks the file RECORD, and writes the identity of this process to it. The command inherits the
lock and holds it for as long as it lives. A second process that wants the same file exits with 75 (EX_TEMPFAIL).

Then this process leaves its session. Until then, killing the process group of the starter (the deployer command) also
ends this process. Afterwards, the starter reads from the record which process it must end.

Runs with the server's Python and does not import deployer.
"""

import fcntl
import json
import os
import select
import socket
import sys
import time

EX_TEMPFAIL = 75
REGISTERED_FD = 4
ATTEMPTS = 50


def main() -> None:
    """Register, detach, exec."""
    record, fingerprint, command = sys.argv[1], sys.argv[2], sys.argv[4:]
    try:
        # The starter has removed the record of the previous server. If a record exists, a process on another machine
        # has created it at the same moment, and not every file system shares locks between machines.
        descriptor = os.open(record, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise SystemExit(EX_TEMPFAIL) from None
    for attempt in range(ATTEMPTS):  # a process that only reads the record holds the lock for a moment
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if attempt == ATTEMPTS - 1:
                raise SystemExit(EX_TEMPFAIL) from None
            time.sleep(0.02)
    with open("/proc/self/stat", "rb") as stat, open("/proc/sys/kernel/random/boot_id", encoding="ascii") as boot:
        identity = {
            "pid": os.getpid(),
            "start": int(stat.read().rpartition(b")")[2].split()[19]),
            "boot": boot.read().strip(),
            "host": socket.gethostname(),
            "fingerprint": fingerprint,
            "memory": memory(),
        }
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps(identity).encode())
    os.set_inheritable(descriptor, True)
    os.chdir(os.path.dirname(record))  # the caller's folder may be deleted
    os.setsid()
    if starter_gone():  # the starter found no record of this process, so it could not end this process
        os.unlink(record)
        raise SystemExit(EX_TEMPFAIL)
    os.set_inheritable(REGISTERED_FD, False)  # execv closes it, which tells the starter that this process is ready
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.execv(command[0], command)  # noqa: S606  # this process must become the server


def memory() -> dict[str, object] | None:
    """Return the path of the cgroup file with the number of OOM kills, and this number; None without such a file.

    Source: the kernel's documentation, cgroup-v2.rst (memory.events) and cgroup-v1/memory.rst (memory.oom_control).
    """
    with open("/proc/self/cgroup", encoding="utf-8") as groups:
        for line in groups.read().splitlines():
            number, controllers, path = line.split(":", 2)
            places = {"memory": f"/sys/fs/cgroup/memory{path}/memory.oom_control"}
            if number == "0":
                places[""] = f"/sys/fs/cgroup{path}/memory.events"
            for controller in controllers.split(","):
                try:
                    with open(places[controller], encoding="ascii") as events:
                        words = events.read().split()
                    return {"events": places[controller], "kills": int(words[words.index("oom_kill") + 1])}
                except (KeyError, OSError, ValueError):
                    continue
    return None


def starter_gone() -> bool:
    """Tell whether the starter no longer waits for this process to be ready."""
    pipe = select.poll()
    pipe.register(REGISTERED_FD, 0)  # errors only: the other end is closed
    return bool(pipe.poll(0))


if __name__ == "__main__":
    main()
