"""Measures the response times of the command line: `deployer --help`, and rendering."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from bench import processes
from bench.processes import Command, Failed

CHECKOUT: Final = Path(__file__).parents[1]
HELP_TIMES: Final = 15
SECONDS: Final = 60.0


def help_times(scratch: Path) -> tuple[float, float]:
    """Return the best times in ms of `deployer --help` and of importing typer, measured in turn in new processes."""
    deployer = Path(sys.executable).with_name("deployer")
    if not deployer.exists():
        raise Failed(f"there is no {deployer}: run the benchmark with the Python that deployer is installed in")
    commands: tuple[Command, Command] = ((deployer, "--help"), (sys.executable, "-c", "import typer"))
    for command in commands:  # the first run of a command reads from the disk
        _milliseconds(command, scratch)
    pairs = [tuple(_milliseconds(command, scratch) for command in commands) for _ in range(HELP_TIMES)]
    return min(ours for ours, _ in pairs), min(theirs for _, theirs in pairs)


def render_times(scratch: Path) -> tuple[float, float]:
    """Return the times in ms of a process's first rendering, and of the best later rendering."""
    log, answer = scratch / "render.log", scratch / "render.json"
    answer.unlink(missing_ok=True)
    command = (sys.executable, "-m", "bench.rendering")
    processes.run(command, env=os.environ, log=log, out=answer, cwd=CHECKOUT, seconds=SECONDS)
    figures = json.loads(answer.read_text("utf-8"))
    return float(figures["first"]), float(figures["again"])


def _milliseconds(command: Command, scratch: Path) -> float:
    return 1000 * processes.run(command, env=os.environ, log=scratch / "help.log", cwd=scratch, seconds=SECONDS)
