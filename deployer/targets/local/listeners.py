"""Finds the process that listens at a TCP port of this machine, as far as /proc shows it to this user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")  # proc_net_tcp(5)
_LISTENS: Final = "0A"


def listener_at(port: int) -> str:
    """Return who listens at `port`: `process 12 (python3)`, `a program of user alice`, or `another program`."""
    for line in _lines():
        words = line.split()
        if words[3] != _LISTENS or int(words[1].rpartition(":")[2], 16) != port:
            continue
        if pid := _process_with(f"socket:[{words[9]}]"):
            return f"process {pid} ({_command(pid)})"
        return f"a program of user {_user(int(words[7]))}"
    return "another program"


def _lines() -> Iterator[str]:
    for table in _TABLES:
        try:
            yield from Path(table).read_text("ascii").splitlines()[1:]
        except OSError:  # a kernel without IPv6
            continue


def _process_with(link: str) -> int | None:
    """Return the process that has this socket open, None if this user may not see it."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with os.scandir(f"/proc/{name}/fd") as descriptors:
                if any(os.readlink(descriptor.path) == link for descriptor in descriptors):
                    return int(name)
        except OSError:  # a process of another user, or it has ended
            continue
    return None


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text("utf-8", "replace").strip()
    except OSError:
        return "ended"


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
