"""Becomes a local server: claims its place, leaves the terminal, then turns into the given command.

    python register.py RECORD FINGERPRINT -- COMMAND...

RECORD is made, locked and filled with what identifies this process; the lock goes over to the command and lives as
long as it. A second process that wants the same place exits with 75 (EX_TEMPFAIL). The session is left only after
that: whoever kills the starter's process group before then kills this too, afterwards it is on record.

Runs with the server's Python and imports nothing of deployer.
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
        # whoever starts a server has removed the record of the last: one that is there is of another machine's, in
        # the same moment, and not every file system carries the lock from machine to machine
        descriptor = os.open(record, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise SystemExit(EX_TEMPFAIL) from None
    for attempt in range(ATTEMPTS):  # somebody who only looks has it for a moment
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
    os.chdir(os.path.dirname(record))  # the caller's folder may go away
    os.setsid()
    if starter_gone():  # it has looked for this process, and found none on record to end
        os.unlink(record)
        raise SystemExit(EX_TEMPFAIL)
    os.set_inheritable(REGISTERED_FD, False)  # closed by execv: whoever waits at its other end sees that we are ready
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.execv(command[0], command)  # noqa: S606  # becoming the server is the point


def memory() -> dict[str, object] | None:
    """Return the file in which the kernel counts what it kills for lack of memory, and the count; None without one.

    The kernel's documentation, cgroup-v2.rst (memory.events) and cgroup-v1/memory.rst (memory.oom_control).
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
    """Tell whether nobody waits any more for this process to be ready."""
    pipe = select.poll()
    pipe.register(REGISTERED_FD, 0)  # errors alone: nobody reads
    return bool(pipe.poll(0))


if __name__ == "__main__":
    main()
