"""A `deployer run` in a test: the test waits for the server and ends the command by a signal."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.support.machine import Machine

UP = "It runs until this command ends."


class Foreground:
    """A running `deployer run`; a thread collects its standard error."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._gather)
        self._reader.start()

    def _gather(self) -> None:
        assert self.process.stderr is not None
        self._lines.extend(iter(self.process.stderr.readline, ""))

    @property
    def errors(self) -> str:
        return "".join(self._lines)

    def until_up(self) -> str:
        """Wait until the server is up; return the printed text."""
        printed = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            printed += line
            if UP in line:
                return printed
        self._reader.join()
        raise AssertionError(f"it never came up\n{printed}\n{self.errors}")

    def child(self) -> int:
        """Return the only child process."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as children:
            (pid,) = map(int, children.read().split())
        return pid

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(60)
        self._reader.join()
        return code


@contextmanager
def running(machine: Machine, *arguments: str) -> Iterator[Foreground]:
    """Start `deployer run` and yield it before the server is up; kill all its processes afterwards."""
    run = Foreground(machine.popen("run", *arguments))
    try:
        yield run
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.process.pid, signal.SIGKILL)
        run.ended()
        for stream in (run.process.stdout, run.process.stderr):
            assert stream is not None
            stream.close()
