"""Runs every contender once per round, in turn, and prints one table. See bench/README.md.

Exit codes: 0 all goals met, 1 a goal missed, 2 something could not be measured, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import commands, processes
from bench.goals import Row, judge, table
from bench.processes import Failed
from bench.servers import VARIANTS, Bench, Started

Samples = defaultdict[str, list[float]]


def main() -> int:
    """Measure, print and judge; return the exit code."""
    arguments = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        with processes.scratch() as scratch:
            samples, about = _measure(scratch, arguments.rounds)
    except Failed as failure:
        sys.stderr.write(f"{failure.log}\nCannot be measured: {failure}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; all started processes have ended.\n")
        return 130
    rows = judge(samples)
    _report(rows, about)
    if arguments.json:
        document = {**about, "comparisons": [row.document() for row in rows], "samples": samples}
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return 1 if any(row.met is False for row in rows) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Ratios to `mlflow server` and others.")
    parser.add_argument("--rounds", type=_positive, default=3, help="how often each contender runs (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to a file, too")
    return parser.parse_args()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def _measure(scratch: Path, rounds: int) -> tuple[Samples, dict[str, Any]]:
    load = os.getloadavg()[0]
    bench = Bench(scratch)
    _say("making the virtual environment that all servers share")
    version = bench.build()
    _say("warming up")
    bench.warm_up()
    samples: Samples = defaultdict(list)
    for number in range(rounds):
        _round(number, rounds, bench, samples, scratch)
    return samples, {
        "rounds": rounds,
        "mlflow": version,
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": [load, os.getloadavg()[0]],
    }


def _round(number: int, rounds: int, bench: Bench, samples: Samples, scratch: Path) -> None:
    contenders = ["ours", *VARIANTS]
    first = number % len(contenders)  # vary the order of the contenders
    for name in contenders[first:] + contenders[:first]:
        started = bench.ours() if name == "ours" else bench.theirs(name)
        samples[f"start {name}"].append(started.seconds)
        samples[f"memory {name}"].append(started.mebibytes)
        _say(f"round {number + 1}/{rounds}: {name}: {_shown(started)}")
    for kind, times, names in (
        ("help", commands.help_times, ("ours", "typer")),
        ("render", commands.render_times, ("first", "again")),
    ):
        figures = times(scratch)
        for name, figure in zip(names, figures, strict=True):
            samples[f"{kind} {name}"].append(figure)
        _say(f"round {number + 1}/{rounds}: {kind}: " + ", ".join(f"{figure:.1f} ms" for figure in figures))


def _shown(started: Started) -> str:
    return f"{started.seconds:.2f} s, {started.mebibytes:.0f} MiB in {started.processes} processes"


def _report(rows: Sequence[Row], about: dict[str, Any]) -> None:
    before, after = about["load"]
    print(table(rows))
    print(
        f"\nMedians; rounds: {about['rounds']}, MLflow {about['mlflow']}, Python {about['python']}, "
        f"{about['cpus']} CPUs, load {before:.1f} before and {after:.1f} after."
    )
    print("Trust the ratios of one run; absolute figures do not compare between runs or machines.")


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
