"""Progress on standard error: a live list of steps on a terminal, plain lines elsewhere."""

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
    """Tell whether the marks ✓, ✗ and · can be written to a stream."""
    return stream.encoding.lower().replace("-", "").startswith("utf")


def note(text: str) -> None:
    """Say something on standard error."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except OSError:  # nobody reads it any more; the work goes on, and what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class StepList:
    """Prints each step when it begins and when it is done; on a terminal the running one is animated.

    `first` is printed before the first step: what only holds once nothing refuses the whole any more.
    """

    def __init__(self, first: Sequence[str] = ()) -> None:
        self._first = list(first)
        self._console: Console | None = None
        self._status: Status | None = None
        if sys.stderr.isatty():
            from rich.console import Console  # takes a while to load, and is of no use elsewhere

            self._console = Console(stderr=True, highlight=False, soft_wrap=True)

    def step(self, name: str, number: int, count: int) -> None:
        """A step has begun."""
        self._begin()
        if self._console:
            self._status = self._console.status(f"{name} ...", spinner="dots" if writes_unicode(sys.stderr) else "line")
            self._status.start()
        else:
            note(f"[{number}/{count}] {name} ...")

    def done(self, name: str, detail: str, seconds: float | None) -> None:
        """A step is done."""
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
        """Something a person should know has happened."""
        if self._console:
            from rich.markup import escape

            self._console.print(escape(text))
        else:
            note(text)

    def end(self) -> None:
        """Stop the animation, if there is one."""
        if self._status:
            self._status.stop()
            self._status = None


@contextmanager
def step_list(first: Sequence[str] = ()) -> Iterator[StepList]:
    """Yield a step list that leaves the terminal in order, whatever happens."""
    steps = StepList(first)
    try:
        yield steps
    finally:
        steps.end()
