"""The signals that end a command: from Ctrl-C, `kill`, Slurm, systemd or a closed terminal."""

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

_SIGNALLED: Final = 128  # a command that signal N ended has exit code 128 + N, as in POSIX shells
_AGAIN_SECONDS: Final = 0.05


class Ending:
    """Records signals. While `interrupts` is True, the first signal raises KeyboardInterrupt.

    `number` is the first signal, None before it. `wake` becomes readable with each signal.
    """

    def __init__(self) -> None:
        self.wake, self._write = os.pipe()
        self.interrupts = True
        self.number: signal.Signals | None = None
        self._unraisable = sys.unraisablehook

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        self.number = self.number or signal.Signals(number)
        os.write(self._write, b".")
        if self.interrupts:
            self.interrupts = False  # a second signal must not interrupt the cleanup after the first
            raise KeyboardInterrupt

    def lost(self, unraisable: UnraisableHookArgs) -> None:
        """Replace `sys.unraisablehook`: raise a lost KeyboardInterrupt again a moment later.

        Python drops exceptions in callbacks of weak references and forks, and in `__del__`. A signal handler may run in
        any of them.
        """
        if not isinstance(unraisable.exc_value, KeyboardInterrupt):
            self._unraisable(unraisable)
        elif self.number is not None:
            self.interrupts = True
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    def close(self) -> None:
        """Close both ends of the pipe."""
        os.close(self.wake)
        os.close(self._write)


class Stopped(KeyboardInterrupt):
    """A signal has ended a command that only printed: there is nothing to continue."""


@contextmanager
def ending() -> Iterator[Ending]:
    """Yield a record of these signals. Signals that were ignored from the start, as with nohup, stay ignored."""
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
    """End an interrupted command with one line and the exit code that shells expect.

    Raises:
        typer.Exit: a signal has arrived. Any later error, such as an OSError of a closed terminal, is a consequence of
            the signal.
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
        except (KeyboardInterrupt, Exception):  # prompts turn KeyboardInterrupt into typer.Abort
            if signals.number is None:
                raise
        note(f"\nInterrupted by {signals.number.name}. Nothing is lost: the same command continues from here.")
        raise typer.Exit(_SIGNALLED + signals.number)
