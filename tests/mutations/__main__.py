"""Breaks the product in a copy, once for each entry of the table, and compares the failed tests with the table.

python -m tests.mutations [--list] [--only NAME ...] [--cluster] ...
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from tests.mutations.imports import unit_tests_of
from tests.mutations.table import UNIT, Break, differences, problems, read, unnamed
from tests.mutations.workshop import STARTS, Unusable, Workshop

MOST_TRIED_AGAIN = 5


def main() -> int:
    """Return 0 if exactly the named tests failed with every break."""
    options = _options()
    table = read()
    if wrong := list(problems(table)):
        print(*wrong, sep="\n", file=sys.stderr)
        return 1
    chosen = _chosen(table, options)
    if options.list:
        for one in chosen:
            print(f"{one.name:<48} {one.where}: {one.promise}")
        return 0
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="deployer-mutations-", ignore_cleanup_errors=True) as folder:
        try:
            return _Run(Path(folder), chosen, over, options).outcome()
        except Unusable as error:
            print(f"Error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("Interrupted. The checkout is as it was: only copies were changed.", file=sys.stderr)
            return 130
        finally:
            over.set()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("--list", action="store_true", help="print the table, run nothing")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=[], help="these breaks, or all of these areas")
    parser.add_argument("--folder", metavar="PATH", default="", help="breaks of files below this path alone")
    parser.add_argument("--cluster", action="store_true", help="also breaks that tests on a cluster notice")
    parser.add_argument(
        "--copies", type=int, default=min(2, os.cpu_count() or 1), help="broken and tested side by side"
    )
    parser.add_argument(
        "--reach", action="store_true", help="also run all unit tests that import what is broken, and say which fail"
    )
    parser.add_argument("--show", action="store_true", help="print what pytest prints; with one copy alone")
    parser.add_argument("--skip-unbroken", action="store_true", help="do not try the tests on the product as it is")
    return parser.parse_args()


def _chosen(table: Sequence[Break], options: argparse.Namespace) -> list[Break]:
    unknown = set(options.only) - {one.name for one in table} - {one.area for one in table}
    if unknown:
        sys.exit(f"There is no break and no area {', '.join(sorted(unknown))}; --list prints all.")
    return [
        one
        for one in table
        if (not options.only or {one.name, one.area} & set(options.only))
        and one.file.startswith(options.folder)
        and (options.cluster or options.list or not one.needs_cluster)
    ]


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Run:
    """All chosen breaks, in some copies side by side."""

    def __init__(
        self, folder: Path, chosen: Sequence[Break], over: threading.Event, options: argparse.Namespace
    ) -> None:
        self._chosen = chosen
        self._over = over
        self._options = options
        count = 1 if options.show else max(1, min(options.copies, len(chosen)))
        self._copies = [Workshop(folder / str(n), folder / "state", over, options.show) for n in range(count)]

    def outcome(self) -> int:
        """Run everything and return the exit code."""
        begun = time.monotonic()
        for copy in self._copies:
            copy.make()
        self._copies[0].make_environment()
        count = len(self._chosen)
        print(f"{count} breaks; the copy of the checkout is ready ({time.monotonic() - begun:.0f} s)", flush=True)
        if not self._options.skip_unbroken:
            self._require_unbroken()
        wrong = self._wrong()
        minutes = (time.monotonic() - begun) / 60
        print(f"{count - len(wrong)} of {count} breaks were noticed by exactly the named tests ({minutes:.0f} min)")
        if wrong:
            print(f"not so: {' '.join(wrong)}")
            print(f"again, with all that pytest says: python -m tests.mutations --show --only {wrong[0]}")
        return 1 if wrong else 0

    def _require_unbroken(self) -> None:
        begun = time.monotonic()
        scope = dict.fromkeys([*(test for found in self._chosen for test in self._scope(found)), STARTS])
        failed = self._copies[0].failed(tuple(scope))
        if failed := failed - _passed_again(self._copies[0], sorted(failed)):
            raise Unusable("these tests fail without any break:\n  " + "\n  ".join(sorted(failed)))
        print(f"all tests pass without a break ({time.monotonic() - begun:.0f} s)", flush=True)

    def _wrong(self) -> list[str]:
        """Run the breaks; return the names of breaks whose failing tests differ from the table."""
        # tests on this machine or on a cluster need all ports, or the whole cluster: only one copy runs them
        alone, others = (deque(one for one in self._chosen if bool(one.others) is wanted) for wanted in (True, False))
        wrong: list[str] = []

        def work(copy: Workshop, queues: Sequence[deque[Break]]) -> None:
            for queue in queues:
                while not self._over.is_set():
                    try:
                        one = queue.popleft()
                    except IndexError:
                        break
                    if not self._try(copy, one):
                        wrong.append(one.name)

        with ThreadPoolExecutor(len(self._copies)) as pool:
            first, *further = self._copies
            works = [
                pool.submit(work, first, (alone, others)),
                *(pool.submit(work, copy, (others,)) for copy in further),
            ]
            try:
                for done in works:
                    done.result()
            except BaseException:
                self._over.set()
                raise
        return wrong

    def _scope(self, one: Break) -> tuple[str, ...]:
        """Return the tests that pytest runs with a break."""
        units = dict.fromkeys((*one.files, *(unit_tests_of(one.file) if self._options.reach else ())))
        # a test of a server fails by itself if no server starts
        return (*units, *(one.others or (STARTS,)))

    def _try(self, copy: Workshop, one: Break) -> bool:
        """Break a copy and run the tests; print the outcome in one line, and each difference in one more."""
        before, elsewhere = time.monotonic(), set()
        with copy.broken(one):
            try:
                failed = copy.failed(self._scope(one))
                # a test with a deadline may have failed because the machine is busy
                failed -= _passed_again(copy, unnamed(one, failed))
                elsewhere = {test for test in failed if test.startswith(UNIT) and not test.startswith(one.files)}
                found = list(differences(one, failed - elsewhere))
            except Unusable as error:
                found = [str(error)]
        if self._over.is_set():
            return False
        took = f"{time.monotonic() - before:5.0f} s"
        lines = [f"{'WRONG' if found else 'ok':<6}{one.name:<48}{took}", *(f"      {line}" for line in found)]
        lines += [f"      failed in another file: {test}" for test in sorted(elsewhere)]
        print("\n".join(lines), flush=True)
        return not found


def _passed_again(copy: Workshop, tests: Sequence[str]) -> frozenset[str]:
    """Run each test again, alone, and return the tests that pass. Skip this if there are too many."""
    few = 0 < len(tests) <= MOST_TRIED_AGAIN
    return frozenset(tests) - copy.failed(tests) if few else frozenset()


if __name__ == "__main__":
    sys.exit(main())
