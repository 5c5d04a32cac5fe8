"""All comparisons and their goals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

Samples = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Comparison:
    """A row of the table: the names of two figures, and the goal, if there is one.

    The goal is the largest allowed ratio, or without a second figure the largest allowed figure.
    """

    what: str
    ours: str
    theirs: str | None
    unit: str
    goal: float | None = None


COMPARISONS: Final = (
    Comparison("create to verified : mlflow server with defaults, first response", "start ours", "start default", "s"),
    Comparison("create to verified : mlflow server, 1 worker, no jobs", "start ours", "start lean", "s", goal=0.9),
    Comparison("memory at rest : mlflow server with defaults", "memory ours", "memory default", "MiB", goal=0.15),
    Comparison("memory at rest : mlflow server, 1 worker, no jobs", "memory ours", "memory lean", "MiB"),
    Comparison("deployer --help : python -c 'import typer'", "help ours", "help typer", "ms", goal=1.5),
    Comparison("render one server, first time in a process", "render first", None, "ms"),
    Comparison("render one server, templates compiled and cached", "render again", None, "ms", goal=50.0),
)


@dataclass(frozen=True)
class Row:
    """A comparison with its medians; `met` is None without a goal."""

    comparison: Comparison
    ours: float
    theirs: float | None
    ratio: float | None
    met: bool | None

    def cells(self) -> tuple[str, ...]:
        """Return the cells of the table: comparison, ours, theirs, ratio, goal, met."""
        unit, goal = self.comparison.unit, self.comparison.goal
        limit = "-" if goal is None else f"<= {goal:g} {'x' if self.theirs is not None else unit}"
        return (
            self.comparison.what,
            _figure(self.ours, unit),
            _figure(self.theirs, unit),
            "-" if self.ratio is None else f"{self.ratio:.2f} x",
            limit,
            {None: "-", True: "yes", False: "NO"}[self.met],
        )

    def document(self) -> dict[str, Any]:
        """Return the row as JSON-compatible data."""
        return {
            "what": self.comparison.what,
            "unit": self.comparison.unit,
            "ours": self.ours,
            "theirs": self.theirs,
            "ratio": self.ratio,
            "goal": self.comparison.goal,
            "met": self.met,
        }


def judge(samples: Samples, comparisons: Sequence[Comparison] = COMPARISONS) -> list[Row]:
    """Return every comparison with the medians of its samples."""
    return [_judge(comparison, samples) for comparison in comparisons]


def _judge(comparison: Comparison, samples: Samples) -> Row:
    ours = median(samples[comparison.ours])
    theirs = median(samples[comparison.theirs]) if comparison.theirs else None
    ratio = ours / theirs if theirs is not None else None
    judged = ours if ratio is None else ratio
    met = None if comparison.goal is None else judged <= comparison.goal
    return Row(comparison, ours, theirs, ratio, met)


def table(rows: Sequence[Row]) -> str:
    """Return the rows under their headings."""
    lines = [("what", "ours", "theirs", "ratio", "goal", "met?"), *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rendered = [" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    rendered.insert(1, "-|-".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in rendered)


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.2f} {unit}"
