"""Results on standard output: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployer.cli.progress import writes_unicode
from deployer.tracking.client import Endpoint
from deployer.tracking.verify import Report

_MARKS: Final = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "dim")}
_WORDS: Final = {True: ("ok", "green"), False: ("FAILED", "bold red"), None: ("-", "dim")}


def print_json(data: Any) -> None:
    """Print JSON for programs."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under upper-case headings, as kubectl does."""
    table = Table(
        *(name.upper() for name in columns), box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0)
    )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    _console().print(table)


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Print one `name  value` line each; values are never wrapped, so that they can be copied."""
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        sys.stdout.write(f"{name:<{width}}  {value}\n")


def print_report(report: Report) -> None:
    """Print the proof, a check a line."""
    console = _console()
    marks = _MARKS if writes_unicode(sys.stdout) else _WORDS
    table = Table("", "CHECK", "RESULT", box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for check in report.checks:
        mark, style = marks[check.ok]
        table.add_row(Text(mark, style=style), Text(check.name), Text(check.detail))
    console.print(table)


def report_document(report: Report) -> list[dict[str, Any]]:
    """Return the proof as JSON-compatible data."""
    return [{"check": c.name, "ok": c.ok, "detail": c.detail, "seconds": round(c.seconds, 3)} for c in report.checks]


def own_command() -> str:
    """Return how a shell calls this very program: by name where PATH leads to it, else by its path."""
    name = "deployer"
    here = Path(sys.argv[0]).absolute()
    if here.name != name:  # python -m deployer
        return f"{shlex.quote(sys.executable)} -m deployer"
    on_path = shutil.which(name)
    return name if on_path and os.path.realpath(on_path) == os.path.realpath(here) else shlex.quote(str(here))


def export_lines(name: str, endpoint: Endpoint, username: str) -> list[str]:
    """Return shell lines for MLflow clients; the password stands in none of them, only the command that prints it."""
    return [
        f"export MLFLOW_TRACKING_URI={shlex.quote(endpoint.url)}",
        f"export MLFLOW_TRACKING_USERNAME={shlex.quote(username)}",
        f'export MLFLOW_TRACKING_PASSWORD="$({_state_setting()}{own_command()} show-password {name})"',
    ]


def _state_setting() -> str:
    """Return an assignment of XDG_STATE_HOME where another shell of this user would look elsewhere."""
    usual = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".local" / "state"
    given = os.environ.get("XDG_STATE_HOME")
    actual = Path(given) if given and os.path.isabs(given) else Path.home() / ".local" / "state"
    return "" if actual == usual else f"XDG_STATE_HOME={shlex.quote(str(actual))} "


def _console() -> Console:
    return Console(soft_wrap=True, highlight=False)
