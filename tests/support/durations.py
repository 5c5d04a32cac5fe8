"""Shows minutes per folder and the N slowest tests at the end of a run with --slowest N: hooks for tests/conftest.py.

pytest's --durations lists setup, call and teardown separately. This module adds them up, for each test and each folder.
The setup of a shared fixture counts for the first test that uses it, the teardown for the last one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--slowest", type=int, default=0, metavar="N", help="show minutes per folder and the N slowest tests"
    )


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show the durations; with pytest-xdist, this runs in the process that has the reports of all workers."""
    most = config.getoption("--slowest")
    seconds = seconds_of(report for reports in terminalreporter.stats.values() for report in reports)
    if not (most and seconds):
        return
    terminalreporter.section(f"minutes per folder and the {most} slowest tests, with setup and teardown")
    for folder, (spent, tests) in per_folder(seconds).items():
        terminalreporter.write_line(f"{spent / 60:7.1f} min  {folder} ({tests} tests)")
    for nodeid, spent in seconds.most_common(most):
        terminalreporter.write_line(f"{spent:7.1f} s    {nodeid}")


def seconds_of(reports: Iterable[Any]) -> Counter[str]:
    """Return the seconds of each test, by node id; ignore other reports."""
    seconds: Counter[str] = Counter()
    for report in reports:
        if isinstance(report, pytest.TestReport):
            seconds[report.nodeid] += report.duration
    return seconds


def per_folder(seconds: Counter[str]) -> dict[str, tuple[float, int]]:
    """Return the seconds and the number of tests of each folder, the slowest folder first."""
    spent: Counter[str] = Counter()
    tests: Counter[str] = Counter()
    for nodeid, duration in seconds.items():
        folder = nodeid.partition("::")[0].rpartition("/")[0]
        spent[folder] += duration
        tests[folder] += 1
    return {folder: (duration, tests[folder]) for folder, duration in spent.most_common()}
