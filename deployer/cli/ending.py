"""The signals that ask a command in the foreground to end: from Ctrl-C, Slurm, systemd, or a terminal that goes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Ending:
    """Knows whether one has come. While `interrupts`, the first of them raises KeyboardInterrupt where it comes."""

    def __init__(self) -> None:
        self.wake, self._write = os.pipe()
        self.interrupts = True

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        os.write(self._write, b".")
        if self.interrupts:
            self.interrupts = False  # a second one must not cut short what the first has set off
            raise KeyboardInterrupt

    def close(self) -> None:
        """Close both ends."""
        os.close(self.wake)
        os.close(self._write)


@contextmanager
def ending() -> Iterator[Ending]:
    """Yield what knows of them; one that this process was started to ignore, as by nohup, stays ignored."""
    taken = Ending()
    before = {number: signal.getsignal(number) for number in ENDING}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, taken.handle)
    try:
        yield taken
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        taken.close()
