"""Measures how fast servers respond with and without logins, in turn on one machine. See bench/README.md.

Exit codes: 0 all goals met, 1 a goal missed, 2 something could not be measured, 130 interrupted.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench.contenders import API, NGINX, Contender, behind_nginx, served
from bench.processes import Failed, scratch
from tests.support import postgres
from tests.testbed.packages import install

WRK: Final = "/usr/bin/wrk"
CLIENTS: Final = (1, 8, 32, 64)
READS: Final = ("runs/get", "experiments/search")
USERS: Final = ("admin", "member")
# the minimum ratio of our rate to that of a server without logins, by sender
OF_OPEN: Final = {"admin": 0.9, "member": 0.8}
OF_VANILLA: Final = 20.0  # reads, one client
OF_DEFAULT_MEMORY: Final = 0.2
# for a cell with a missed goal: single loads of 3 s vary by a fifth, and several ratios are close to their goals
FURTHER_ROUNDS: Final = 4

REPORT: Final = """
done = function(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format('{"requests": %d, "microseconds": %d, "failed": %d, "p50": %d, "p99": %d}',
    summary.requests, summary.duration, failed, latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, order=True)
class Cell:
    """A request, its sender, the database and the number of clients."""

    database: str
    request: str
    user: str
    clients: int

    def __str__(self) -> str:
        return f"{self.database:8} {self.request:18} {self.user:6} {self.clients:2}"


@dataclass(frozen=True)
class Sample:
    """The result of one load: responses per second, latencies in milliseconds, and failed requests."""

    rate: float
    p50: float
    p99: float
    failed: int


Samples = dict[Cell, dict[str, list[Sample]]]


def load(contender: Contender, cell: Cell, seconds: float, folder: Path) -> Sample:
    """Send requests as fast as the clients can for some seconds."""
    metric = {"key": "m", "value": 1.0, "step": 1, "timestamp": 1}
    method, path, body = {
        "runs/get": ("GET", f"runs/get?run_id={contender.run}", None),
        "experiments/search": ("POST", "experiments/search", {"max_results": 20}),
        "log-batch": ("POST", "runs/log-batch", {"run_id": contender.run, "metrics": [metric] * 10}),
    }[cell.request]
    lines = [f"wrk.method = {json.dumps(method)}"]
    if body is not None:
        lines += [f"wrk.body = {json.dumps(json.dumps(body))}", 'wrk.headers["Content-Type"] = "application/json"']
    if login := contender.logins[cell.user]:
        told = base64.b64encode(":".join(login).encode()).decode()
        lines.append(f'wrk.headers["Authorization"] = "Basic {told}"')
    script = folder / "load.lua"  # keeps the login off the command line
    script.write_text("\n".join([*lines, REPORT]))
    options = ["-t1", f"-c{cell.clients}", f"-d{seconds:g}s", "--timeout", "120s", "-s", str(script)]
    done = subprocess.run(
        [WRK, *options, f"{contender.address}/{API}/{path}"], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout[done.stdout.index('{"requests"') :])
    answered = found["requests"] - found["failed"]
    return Sample(answered / found["microseconds"] * 1e6, found["p50"] / 1000, found["p99"] / 1000, found["failed"])


def measure(
    python: str, folder: Path, database: str, arguments: argparse.Namespace
) -> tuple[Samples, dict[str, float]]:
    """Return the samples of every cell by contender, and the peak memory of each contender in MiB."""
    samples: Samples = defaultdict(lambda: defaultdict(list))
    workers = arguments.workers if database == "postgres" else 1
    with ExitStack() as stack:

        def start(name: str) -> Contender:
            urls = stack.enter_context(postgres.running(python)) if database == "postgres" else None
            return stack.enter_context(served(python, name, folder / f"{database}-{name}", workers, urls))

        contenders = {name: start(name) for name in ("open", "vanilla", "cache", "ours")}
        contenders["nginx"] = stack.enter_context(behind_nginx(contenders["open"], folder / f"{database}-nginx"))
        cells = [
            Cell(database, request, user, clients)
            for request in (*READS, "log-batch")
            for user in USERS
            for clients in arguments.clients
        ]

        def take_turns(cell: Cell, number: int) -> None:
            order = list(contenders.values())
            for contender in order[number % len(order) :] + order[: number % len(order)]:
                with contender.weighed():
                    samples[cell][contender.name].append(load(contender, cell, arguments.seconds, folder))
                contender.rest()
            print(_line(cell, samples[cell]), flush=True)

        for number in range(arguments.rounds):
            for cell in cells:
                take_turns(cell, number)
        missed = [cell for cell in cells if not all(met for *_, met in goals_of(cell, samples[cell]))]
        for number in range(arguments.rounds, arguments.rounds + FURTHER_ROUNDS):
            for cell in missed:
                take_turns(cell, number)
        default = start("default")
        with default.weighed():
            load(default, Cell(database, "runs/get", "admin", max(arguments.clients)), arguments.seconds, folder)
        peaks = {contender.name: contender.peak_mebibytes for contender in (*contenders.values(), default)}
    return samples, peaks


def rate(samples: dict[str, list[Sample]], name: str) -> float:
    return median(sample.rate for sample in samples[name])


def _line(cell: Cell, samples: dict[str, list[Sample]]) -> str:
    parts = []
    for name in ("open", "nginx", "vanilla", "cache", "ours"):
        last = samples[name][-1]
        failed = f" {last.failed} failed" if last.failed else ""
        parts.append(f"{name} {last.rate:7.1f}/s {last.p50:6.0f}/{last.p99:6.0f} ms{failed}")
    return f"{cell} | {' | '.join(parts)}"


Goal = tuple[str, float, str, bool]  # name, figure, limit, whether the goal is met


def goals_of(cell: Cell, found: dict[str, list[Sample]]) -> Iterator[Goal]:
    """Yield the goals of one cell, judged by the medians of its samples."""
    ours = rate(found, "ours")
    share = ours / rate(found, "open")
    yield f"{cell}  to a server without logins", share, f">= {OF_OPEN[cell.user]}", share >= OF_OPEN[cell.user]
    if cell.database == "postgres" and cell.user == "admin":
        share = ours / rate(found, "nginx")
        yield f"{cell}  to nginx in front of such a server", share, ">= 1.0", share >= 1.0
    if cell.clients == 1 and cell.request in READS:
        vanilla = max(rate(found, "vanilla"), 1e-9)
        yield f"{cell}  to MLflow's basic auth", ours / vanilla, f">= {OF_VANILLA:g}", ours / vanilla >= OF_VANILLA
    if cell.clients == max(CLIENTS):
        failed = sum(sample.failed for sample in found["ours"])
        yield f"{cell}  failures", failed, "0", failed == 0


def judge(samples: Samples, peaks: dict[str, dict[str, float]]) -> Iterator[Goal]:
    """Yield the goals of all cells, and those of memory."""
    for cell, found in sorted(samples.items()):
        yield from goals_of(cell, found)
    for database, by_name in peaks.items():
        share = by_name["ours"] / by_name["default"]
        yield (
            f"{database}  peak memory, to `mlflow server` with defaults",
            share,
            f"<= {OF_DEFAULT_MEMORY}",
            (share <= OF_DEFAULT_MEMORY),
        )


def main() -> int:
    """Measure, print and judge; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.server", description="Logins and speed.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each load (default: 3)")
    parser.add_argument("--workers", type=int, default=2, help="processes of each server on PostgreSQL (default: 2)")
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgres"], choices=["sqlite", "postgres"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure to a file, too")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # so that whatever was started is ended
    install({"wrk": WRK, "nginx-light": NGINX, "openssl": "/usr/bin/openssl"})
    samples: Samples = {}
    peaks: dict[str, dict[str, float]] = {}
    print(f"{os.cpu_count()} processors; a load each {arguments.seconds:g} s, {arguments.rounds} rounds; p50/p99")
    try:
        with scratch() as folder:
            python = postgres.python(folder)
            for database in arguments.databases:
                found, peaks[database] = measure(python, folder, database, arguments)
                samples |= found
    except Failed as failure:
        sys.stderr.write(f"{failure.log}\nCannot be measured: {failure}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; all started processes have ended.\n")
        return 130
    goals = list(judge(samples, peaks))
    for what, figure, limit, met in goals:
        print(f"{what:75} {figure:8.2f}  {limit:8} {'yes' if met else 'NO'}")
    for database, by_name in peaks.items():
        print(f"peak memory, {database}: " + ", ".join(f"{name} {value:.0f} MiB" for name, value in by_name.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(_document(samples, peaks, goals), indent=2) + "\n", "utf-8")
    return 0 if all(met for *_, met in goals) else 1


def _document(samples: Samples, peaks: object, goals: list[Goal]) -> dict[str, Any]:
    cells = [
        {**vars(cell), "samples": {name: [vars(sample) for sample in found] for name, found in by_name.items()}}
        for cell, by_name in samples.items()
    ]
    judged = [dict(zip(("what", "figure", "limit", "met"), goal, strict=True)) for goal in goals]
    return {"cells": cells, "peaks": peaks, "goals": judged}


if __name__ == "__main__":
    raise SystemExit(main())
