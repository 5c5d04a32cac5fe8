"""Shows the progress of long tasks on standard error.

On a terminal, one line is rewritten every second; elsewhere, a new line appears every 15 seconds. pytest captures
standard error: a fixture that starts a cluster must disable the capture.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

ON_TERMINAL_SECONDS = 1
ELSEWHERE_SECONDS = 15


@dataclass(eq=False)
class Task:
    """A long task; code may set `how_far` at any time, for example to "412 of 1900 packages"."""

    what: str
    how_far: str = ""
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def __str__(self) -> str:
        return f"{self.what}: {self.how_far or 'running'}, {self.seconds:.0f} s"


class _Display:
    """All running tasks of all threads, and the thread that shows them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: list[Task] = []
        self._idle = threading.Event()

    def add(self, task: Task) -> None:
        with self._lock:
            self._print(f"testbed: {task.what}")
            self._tasks.append(task)
            if len(self._tasks) == 1:
                self._idle = threading.Event()
                threading.Thread(target=self._show, args=(self._idle,), daemon=True).start()

    def remove(self, task: Task, outcome: str) -> None:
        with self._lock:
            self._tasks.remove(task)
            if not self._tasks:
                self._idle.set()
            self._print(f"testbed: {task.what}: {outcome} after {task.seconds:.0f} s")

    def _show(self, idle: threading.Event) -> None:
        while not idle.wait(ON_TERMINAL_SECONDS if _on_terminal() else ELSEWHERE_SECONDS):
            with self._lock:
                if self._tasks:
                    self._print("testbed: " + "; ".join(map(str, self._tasks)), passing=True)

    def _print(self, line: str, *, passing: bool = False) -> None:
        """Print a line; on a terminal, it replaces a temporary line."""
        if _on_terminal():
            if passing:
                line = line[: shutil.get_terminal_size().columns - 1]
            sys.stderr.write(f"\r\x1b[K{line}{'' if passing else chr(10)}")
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


_DISPLAY = _Display()


@contextmanager
def task(what: str) -> Iterator[Task]:
    """Show `what` as running until the block ends, then its duration."""
    running = Task(what)
    _DISPLAY.add(running)
    outcome = "failed"
    try:
        yield running
        outcome = "done"
    finally:
        _DISPLAY.remove(running, outcome)


def _on_terminal() -> bool:
    """Tell whether a line can be rewritten; pytest and its worker processes share one terminal."""
    return sys.stderr.isatty() and "PYTEST_CURRENT_TEST" not in os.environ
