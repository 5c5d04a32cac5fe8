"""Prints progress on standard error: a live list of steps on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status


def writes_unicode(stream: TextIO) -> bool:
    """Tell whether a stream can encode the marks ✓, ✗ and ·."""
    return stream.encoding.lower().replace("-", "").startswith("utf")


def note(text: str) -> None:
    """Print a line on standard error."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:  # the reader is gone: continue, and discard the rest of the buffer
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class StepList:
    """Prints each step when it begins and when it is done; the running step is animated on a terminal.

    `first` is printed before the first step, when all checks have passed.
    """

    def __init__(self, first: Sequence[str] = ()) -> None:
        self._first = list(first)
        self._console: Console | None = None
        self._status: Status | None = None
        if sys.stderr.isatty():
            from rich.console import Console  # slow import, needed only on a terminal

            self._console = Console(stderr=True, highlight=False, soft_wrap=True)

    def step(self, name: str, number: int, count: int) -> None:
        """Print that a step has begun."""
        self._begin()
        if self._console:
            self._status = self._console.status(f"{name} ...", spinner="dots" if writes_unicode(sys.stderr) else "line")
            self._status.start()
        else:
            note(f"[{number}/{count}] {name} ...")

    def done(self, name: str, detail: str, seconds: float | None) -> None:
        """Print that a step is done."""
        self._begin()
        self.end()
        took = "" if seconds is None else f" ({seconds:.1f} s)"
        if self._console:
            from rich.markup import escape

            plain = not writes_unicode(sys.stderr)
            mark = ("ok" if plain else "✓") if seconds is not None else ("--" if plain else "·")
            colour = "green" if seconds is not None else "dim"
            self._console.print(f"[{colour}]{mark}[/] {name:<12} {escape(detail)}[dim]{took}[/]")
        else:
            note(f"{'ok' if seconds is not None else '--'} {name}: {detail}{took}")

    def _begin(self) -> None:
        for text in self._first:
            self.note(text)
        self._first.clear()

    def note(self, text: str) -> None:
        """Print an event that the user should know about."""
        if self._console:
            from rich.markup import escape

            self._console.print(escape(text))
        else:
            note(text)

    def end(self) -> None:
        """Stop the animation if it runs."""
        if self._status:
            self._status.stop()
            self._status = None


@contextmanager
def step_list(first: Sequence[str] = ()) -> Iterator[StepList]:
    """Yield a step list, and stop its animation at the end, also after an exception."""
    steps = StepList(first)
    try:
        yield steps
    finally:
        steps.end()
