"""Results on standard output: tables and lines for people, JSON for programs."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import sys
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from deployer.cli.progress import writes_unicode
from deployer.targets import Target
from deployer.targets.local.store import state_home
from deployer.tracking.client import Endpoint
from deployer.tracking.verify import Report

_MARKS: Final = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "dim")}
_WORDS: Final = {True: ("ok", "green"), False: ("FAILED", "bold red"), None: ("-", "dim")}


def print_json(data: Any) -> None:
    """Print JSON for programs."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under upper-case headings, as kubectl does; never cut, so that they can be copied and searched."""
    table = [[name.upper() for name in columns], *rows]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    for row in table:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_fields(fields: Sequence[tuple[str, str]]) -> None:
    """Print one `name  value` line each; values are never wrapped, so that they can be copied."""
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        sys.stdout.write(f"{name:<{width}}  {value}\n")


def print_report(report: Report) -> None:
    """Print the proof, a check a line, in colours on a terminal."""
    marks = _MARKS if writes_unicode(sys.stdout) else _WORDS
    width = max(len(mark) for mark, _ in marks.values()) + 2
    names = max(len(check.name) for check in report.checks) + 2
    rows = [("", "bold", f"{'CHECK':{names}}RESULT")]
    rows += [(*marks[check.ok], f"{check.name:{names}}{check.detail}") for check in report.checks]
    if not sys.stdout.isatty():
        print("\n".join(f"{mark:{width}}{text}" for mark, _, text in rows))
        return
    from rich.console import Console  # takes a while to load, and is of no use elsewhere
    from rich.text import Text

    console = Console(soft_wrap=True, highlight=False)
    for mark, style, text in rows:
        console.print(Text.assemble((f"{mark:{width}}", style), text))


def report_document(report: Report) -> list[dict[str, Any]]:
    """Return the proof as JSON-compatible data."""
    return [{"check": c.name, "ok": c.ok, "detail": c.detail, "seconds": round(c.seconds, 3)} for c in report.checks]


def own_command() -> str:
    """Return how this shell calls this very program."""
    return _own_command(anywhere=False)


def _own_command(*, anywhere: bool) -> str:
    name = "deployer"
    here = Path(sys.argv[0]).absolute()
    if here.name != name:  # python -m deployer
        return f"{shlex.quote(sys.executable)} -m deployer"
    on_path = None if anywhere else shutil.which(name)
    return name if on_path and os.path.realpath(on_path) == os.path.realpath(here) else shlex.quote(str(here))


def export_lines(target: Target, endpoint: Endpoint, username: str) -> list[str]:
    """Return shell lines for MLflow clients; the password stands in none of them, only the command that prints it.

    They hold in a shell that knows nothing of this one: other PATH, other XDG_STATE_HOME, other KUBECONFIG.
    """
    command = [_own_command(anywhere=True), "show-password", target.name]
    if target.kind == "local":
        password = f"{_state_setting()}{' '.join(command)}"
    else:
        files = os.environ.get("KUBECONFIG")
        whole = os.pathsep.join(os.path.abspath(file) for file in (files or "").split(os.pathsep) if file)
        setting = f"KUBECONFIG={shlex.quote(whole)} " if whole else ""
        password = f"{setting}{' '.join(command)} {shlex.join(target.options)}"
    lines = [
        f"export MLFLOW_TRACKING_URI={shlex.quote(endpoint.url)}",
        f"export MLFLOW_TRACKING_USERNAME={shlex.quote(username)}",
        f'export MLFLOW_TRACKING_PASSWORD="$({password})"',
    ]
    if endpoint.ca_file:
        lines.append(f"export MLFLOW_TRACKING_SERVER_CERT_PATH={shlex.quote(os.path.abspath(endpoint.ca_file))}")
    host = urllib.parse.urlsplit(endpoint.url).hostname or ""
    if urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        lines.append(f'export NO_PROXY="{host}${{NO_PROXY:+,$NO_PROXY}}" no_proxy="{host}${{no_proxy:+,$no_proxy}}"')
    return lines


def _state_setting() -> str:
    """Return an assignment of XDG_STATE_HOME where another shell of this user would look elsewhere."""
    try:
        usual = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".local" / "state"
    except KeyError:  # a user id without an account, as in containers
        usual = None
    actual = state_home()
    return "" if actual == usual else f"XDG_STATE_HOME={shlex.quote(str(actual))} "
