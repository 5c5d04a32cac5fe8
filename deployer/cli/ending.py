"""The signals that ask a command to end: from Ctrl-C, `kill`, Slurm, systemd, or a terminal that goes away."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final

import typer

from deployer.cli.progress import note

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

ENDING: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_SIGNALLED: Final = 128  # a command that signal N has ended has the exit code 128 + N, as in POSIX shells
_AGAIN_SECONDS: Final = 0.05


class Ending:
    """Knows whether one has come. While `interrupts`, the first of them raises KeyboardInterrupt where it comes.

    `number` is the first signal that came; None before.
    """

    def __init__(self) -> None:
        self.wake, self._write = os.pipe()
        self.interrupts = True
        self.number: signal.Signals | None = None
        self._unraisable = sys.unraisablehook

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal."""
        self.number = self.number or signal.Signals(number)
        os.write(self._write, b".")
        if self.interrupts:
            self.interrupts = False  # a second one must not cut short what the first has set off
            raise KeyboardInterrupt

    def lost(self, unraisable: UnraisableHookArgs) -> None:
        """Take the place of `sys.unraisablehook`: raise a lost KeyboardInterrupt again, a moment later.

        Python drops an exception in a callback of a weak reference or of a fork, and in `__del__`. A signal handler can
        run in any of them.
        """
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            self._unraisable(unraisable)
        elif self.number is not None:
            self.interrupts = True
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

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
    before = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGALRM)}
    hook = sys.unraisablehook
    for number, handler in before.items():
        if handler is not signal.SIG_IGN or number == signal.SIGALRM:
            signal.signal(number, taken.handle)
    sys.unraisablehook = taken.lost
    try:
        yield taken
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = hook
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
