"""Measures the cost of many logins at once: memory, and the latency of logged-in clients. See bench/README.md.

Exit codes: 0 all goals met, 1 a goal missed, 2 something could not be measured, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import requests

from bench.contenders import API, Contender, served
from bench.processes import Failed, scratch
from bench.server import WRK, Cell, Sample, load
from deployer.core.stack import sizing
from tests.support import postgres
from tests.testbed.packages import install

FIRST_LOGINS: Final = 500
GUESSERS: Final = 16
MOST_GUESSES: Final = 5000  # in one flood
WORKERS: Final = 3
# goals
P99_UNDER_FLOOD: Final = 2.0  # ratio to the same client's p99 without a flood
FURTHER_WORKER_MIB: Final = 100.0
NAME: Final = "person{}@uni.example"


@dataclass(frozen=True)
class Goal:
    """A figure and its maximum."""

    what: str
    figure: float
    limit: float

    @property
    def met(self) -> bool:
        return self.figure <= self.limit


def ask(address: str, login: tuple[str, str]) -> int:
    """Send a request on a new connection; return its status, 0 without a response."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(f"{address}/{API}/users/current", auth=login, timeout=300).status_code
        except requests.RequestException:
            return 0


def add_users(folder: Path, count: int) -> None:
    """Add users to the server's database, all with the member's password hash; a check costs the same as for others."""
    insert = (
        "INSERT INTO users (username, password_hash, is_admin) SELECT ?, password_hash, 0 FROM users WHERE username = ?"
    )
    with closing(sqlite3.connect(folder / "auth.db", timeout=60)) as database, database:
        database.executemany(insert, [(NAME.format(number), "member") for number in range(count)])


def first_logins(python: str, folder: Path, count: int) -> Iterator[Goal]:
    """Measure many simultaneous logins, each the first one of its user."""
    with served(python, "ours", folder, 1, None) as ours:
        member = ours.logins["member"]
        assert member is not None  # this contender has logins
        at_rest = ours.mebibytes()
        yield Goal("memory of one process at rest, MiB, to the computed value", at_rest, sizing.SERVER_AT_REST_MIB)
        add_users(folder, count)
        statuses: list[int] = []
        start = threading.Barrier(count + 1)

        def come(number: int) -> None:
            start.wait()
            statuses.append(ask(ours.address, (NAME.format(number), member[1])))

        threads = [threading.Thread(target=come, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        with ours.weighed():
            start.wait()
            begun = time.monotonic()
            for thread in threads:
                thread.join()
            took = time.monotonic() - begun
        print(f"{count} first logins at once: {statuses.count(200)} accepted, {took:.1f} s")
        yield Goal(f"{count} first logins at once: refused", len(statuses) - statuses.count(200), 0)
        limit = sizing.server_resources(1).memory_limit
        yield Goal("their peak memory, MiB, to the computed limit", ours.peak_mebibytes, limit)
        room = sizing.CONCURRENT_COLD_LOGINS * sizing.COLD_LOGIN_MIB
        yield Goal("peak minus memory at rest, MiB, to the computed value", ours.peak_mebibytes - at_rest, room)


@contextmanager
def flood(address: str) -> Iterator[list[int]]:
    """Guess passwords of the member and of unknown users, as fast as the server responds."""
    over, statuses = threading.Event(), list[int]()

    def guess(number: int) -> None:
        while not over.is_set() and len(statuses) < MOST_GUESSES:
            user = "member" if number % 2 else f"nobody {len(statuses)}"
            statuses.append(ask(address, (user, f"guess {number} {len(statuses)}")))

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(GUESSERS)]
    for thread in threads:
        thread.start()
    try:
        yield statuses
    finally:
        over.set()
        for thread in threads:
            thread.join()


def under_flood(python: str, folder: Path, rounds: int, seconds: float) -> Iterator[Goal]:
    """Measure a logged-in client with and without a simultaneous flood of guesses."""
    cell = Cell("sqlite", "runs/get", "member", 1)
    with served(python, "ours", folder, 1, None) as ours:
        load(ours, cell, 1.0, folder)  # the first requests take longer
        ratios = []
        for _ in range(rounds):
            calm = load(ours, cell, seconds, folder)
            with flood(ours.address) as statuses:
                flooded = load(ours, cell, seconds, folder)
            ours.rest()
            _say(calm, flooded, statuses)
            ratios.append(flooded.p99 / calm.p99)
            if 200 in statuses or calm.failed or flooded.failed:
                raise Failed("a guess was accepted, or a valid password was refused", "")
    yield Goal("p99 of a logged-in client under a flood of guesses, to that without", median(ratios), P99_UNDER_FLOOD)


def _say(calm: Sample, flooded: Sample, statuses: list[int]) -> None:
    told = {status: statuses.count(status) for status in sorted(set(statuses))}
    print(
        f"without: {calm.rate:.0f}/s, p50 {calm.p50:.1f} p99 {calm.p99:.1f} ms; under {len(statuses)} guesses {told}: "
        f"{flooded.rate:.0f}/s, p50 {flooded.p50:.1f} p99 {flooded.p99:.1f} ms"
    )


def further_workers(python: str, folder: Path, seconds: float) -> Iterator[Goal]:
    """Measure the memory of each additional process after a load on all processes."""
    folder.mkdir()
    found: dict[int, float] = {}
    for count in (1, WORKERS):
        with served(python, "ours", folder / str(count), count, None) as ours:
            _worked(ours, seconds, folder)
            ours.rest()
            found[count] = ours.mebibytes()
    print(", ".join(f"{count} workers after a load: {size:.0f} MiB" for count, size in found.items()))
    each = (found[WORKERS] - found[1]) / (WORKERS - 1)
    yield Goal("memory of an additional worker, MiB", each, min(FURTHER_WORKER_MIB, sizing.FURTHER_WORKER_MIB))


def _worked(ours: Contender, seconds: float, folder: Path) -> None:
    for request in ("runs/get", "experiments/search", "log-batch"):
        for user in ("admin", "member"):
            load(ours, Cell("sqlite", request, user, 16), seconds, folder)


def main() -> int:
    """Measure, print and judge; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.logins", description="Many logins at once.")
    parser.add_argument("--rounds", type=int, default=5, help="of the flood (default: 5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load (default: 5)")
    parser.add_argument("--first", type=int, default=FIRST_LOGINS, help=f"logins at once (default: {FIRST_LOGINS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # so that whatever was started is ended
    install({"wrk": WRK})
    try:
        with scratch() as folder:
            python = postgres.python(folder)
            goals = [
                *first_logins(python, folder / "first", arguments.first),
                *under_flood(python, folder / "flood", arguments.rounds, arguments.seconds),
                *further_workers(python, folder / "workers", arguments.seconds),
            ]
    except Failed as failure:
        sys.stderr.write(f"{failure.log}\nCannot be measured: {failure}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted; all started processes have ended.\n")
        return 130
    for goal in goals:
        print(f"{goal.what:65} {goal.figure:8.2f}  <= {goal.limit:<6g} {'yes' if goal.met else 'NO'}")
    if arguments.json:
        document = [{"what": goal.what, "figure": goal.figure, "limit": goal.limit, "met": goal.met} for goal in goals]
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    return 0 if all(goal.met for goal in goals) else 1


if __name__ == "__main__":
    raise SystemExit(main())
