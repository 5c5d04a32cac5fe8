"""Prints results on standard output: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any, Final

from deployer.cli.progress import writes_unicode
from deployer.cli.remedies import words
from deployer.tracking.report import Check, Report

_MARKS: Final = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "dim")}
_WARNINGS: Final = {True: "!", False: "WARN"}
_WORDS: Final = {True: ("ok", "green"), False: ("FAILED", "bold red"), None: ("-", "dim")}


def print_json(data: Any) -> None:
    """Print JSON for programs."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under upper-case headings, as kubectl does; cells are never truncated, so that they can be copied."""
    table = [[name.upper() for name in columns], *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    for row in table:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Print one `name  value` line per field; values are never wrapped, so that they can be copied."""
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        sys.stdout.write(f"{name:<{width}}  {value}\n")


def print_report(report: Report) -> None:
    """Print the proof with one line per check, in colours on a terminal."""
    marks = _MARKS if writes_unicode(sys.stdout) else _WORDS
    width = max(len(mark) for mark, _ in marks.values()) + 2
    names = max(len(check.name) for check in report.checks) + 2
    warning = _WARNINGS[marks is _MARKS]
    rows = [("", "bold", f"{'CHECK':{names}}RESULT")]
    rows += [(*marks[check.ok], f"{check.name:{names}}{_said(check)}") for check in report.checks]
    rows += [(warning, "yellow", f"{'warning':{names}}{text}") for text in report.warnings]
    if not sys.stdout.isatty():
        print("\n".join(f"{mark:{width}}{text}" for mark, _, text in rows))
        return
    from rich.console import Console  # slow import, needed only on a terminal
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    for mark, style, text in rows:
        console.print(Text.assemble((f"{mark:{width}}", style), text))


def report_document(report: Report) -> list[dict[str, Any]]:
    """Return the proof as JSON-compatible data."""
    return [{"check": c.name, "ok": c.ok, "detail": _said(c), "seconds": round(c.seconds, 3)} for c in report.checks]


def _said(check: Check) -> str:
    return f"{check.detail}; {words(check.hint)}" if check.hint else check.detail
