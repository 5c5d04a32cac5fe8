"""The signals that ask a command to end: from Ctrl-C, `kill`, Slurm, systemd, or a terminal that goes away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import typer

from deployer.cli.progress import note

ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_SIGNALLED: Final = 128  # a command that signal N has ended has the exit code 128 + N, as in POSIX shells


class Ending:
    """Knows whether one has come. While `interrupts`, the first of them raises KeyboardInterrupt where it comes.

    `number` is the first signal that came; None before.
    """

    def __init__(self) -> None:
        self.wake, self._write = os.pipe()
        self.interrupts = True
        self.number: signal.Signals | None = None

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        self.number = self.number or signal.Signals(number)
        os.write(self._write, b".")
        if self.interrupts:
            self.interrupts = False  # a second one must not cut short what the first has set off
            raise KeyboardInterrupt

    def close(self) -> None:
        """Close both ends."""
        os.close(self.wake)
        os.close(self._write)


class Stopped(KeyboardInterrupt):
    """A signal has ended a command that only printed: there is nothing to go on with."""


@contextmanager
def ending() -> Iterator[Ending]:
    """Yield what knows of these signals; one that this process was started to ignore, as by nohup, stays ignored."""
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


@contextmanager
def interruptible() -> Iterator[None]:
    """End a command that a signal interrupts with one line and the exit code that shells expect.

    Raises:
        typer.Exit: a signal has come; whatever came after the signal, such as an OSError of a terminal that is gone,
            follows from it.
    """
    with ending() as signals:
        try:
            yield
            return
        except typer.Exit:
            raise
        except Stopped:
            if signals.number is None:
                raise
            raise typer.Exit(_SIGNALLED + signals.number) from None
        except (KeyboardInterrupt, Exception):  # prompts turn the first into typer.Abort
            if signals.number is None:
                raise
        note(f"\nInterrupted by {signals.number.name}. Nothing is lost: the same command goes on from here.")
        raise typer.Exit(_SIGNALLED + signals.number)
