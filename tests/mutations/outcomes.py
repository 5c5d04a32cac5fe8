"""A pytest plugin for the runs of `make mutations`: records the failed tests, and makes runs reproducible.

The file that DEPLOYER_MUTATIONS_FAILED names gets one line for each test that failed, and for each file that could not
be imported.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

FAILED = "DEPLOYER_MUTATIONS_FAILED"
# few examples, and always the same: a break is found each time or never
settings.register_profile(
    "mutations",
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
_failed: dict[str, None] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    settings.load_profile("mutations")  # after the profile of tests/unit/conftest.py


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        _failed[report.nodeid] = None


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        _failed[report.nodeid] = None


def pytest_sessionfinish(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):  # the workers of xdist report to the process that writes
        with open(os.environ[FAILED], "w", encoding="utf-8") as file:
            file.writelines(f"{node}\n" for node in _failed)
