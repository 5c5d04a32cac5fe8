"""Runs commands under strace and lists the programs that they start, with arguments and environment."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.packages import install

PACKAGES = {"strace": "/usr/bin/strace"}
_TEXT = rb'"(?:[^"\\]|\\.)*"'
_LIST = rb"\[(?:%(text)s(?:, %(text)s)*)?\]" % {b"text": _TEXT}
_START = re.compile(rb"^\d+ +execve\((?P<path>%s), (?P<words>%s), (?P<env>%s)(?:\)| <unf)" % (_TEXT, _LIST, _LIST))


@dataclass(frozen=True)
class Start:
    """One execve(2): the program, its arguments and its environment in strace's notation."""

    path: str
    words: bytes
    env: bytes


class Tracer:
    """Traces commands, each until its last program ends; only the tracer may use `folder`."""

    def __init__(self, folder: Path) -> None:
        install(PACKAGES)
        self._folder = folder
        self._numbers = itertools.count()

    def command(self, command: Sequence[str]) -> list[str]:
        """Return the command line that traces a command; the command's standard error goes to standard output.

        As long as a server runs, strace keeps its standard error, and thus the pipe, open.
        """
        strace = [
            # -DD: the command is our child, and strace is a grandchild in a group that gets no Ctrl-C. strace also
            # traces processes that outlive the command. It stops only at execve, or a server would start for minutes.
            *("strace", "-DD", "--quiet=attach", "--follow-forks", "--seccomp-bpf", "--trace=execve,execveat"),
            *("--no-abbrev", "--string-limit=1000000", f"--output={self._folder / str(next(self._numbers))}", "--"),
        ]  # fmt: skip
        quiet, together = (["sh", "-c", f'exec "$@" {where}', "sh"] for where in ("2>/dev/null", "2>&1"))
        return [*quiet, *strace, *together, *command]

    def starts(self) -> Iterator[Start]:
        """Yield every start of a program after all programs have ended."""
        for path in sorted(self._folder.iterdir()):
            yield from starts(_complete(path))


def starts(trace: bytes) -> list[Start]:
    """Return the starts in a trace; a truncated or unreadable line is an error."""
    found = []
    for line in trace.splitlines():
        if b"execve" in line and b"execve resumed" not in line:
            match = _START.match(line)
            assert match, f"strace has written this in another way: {line[:200]!r}"
            found.append(Start(match["path"][1:-1].decode(), match["words"], match["env"]))
    return found


def _complete(path: Path) -> bytes:
    for _ in range(300):
        trace = path.read_bytes()
        begun, ended = (set(re.findall(rb"^(\d+) +%s" % what, trace, re.M)) for what in (rb"execve\(", rb"\+\+\+ "))
        if begun and begun <= ended:
            return trace
        time.sleep(0.1)
    raise AssertionError(f"a program of {path} has not ended: {begun - ended}")
