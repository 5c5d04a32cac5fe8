"""A `deployer run` in a test: waited for until it is up, ended by a signal."""

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
    """A running `deployer run`; what it writes on standard error is gathered as it comes."""

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
        """Return what it has printed once it says that it is up."""
        printed = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            printed += line
            if UP in line:
                return printed
        self._reader.join()
        raise AssertionError(f"it never came up\n{printed}\n{self.errors}")

    def child(self) -> int:
        """Return the one process that it has started."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as children:
            (pid,) = map(int, children.read().split())
        return pid

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Return the exit code once it has ended."""
        code = self.process.wait(60)
        self._reader.join()
        return code


@contextmanager
def running(machine: Machine, *arguments: str) -> Iterator[Foreground]:
    """Yield a `deployer run` that may not be up yet; kill what is left of it afterwards."""
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
