"""Keeps secrets out of pytest's output: hooks and one fixture, for tests/conftest.py and for a nested pytest.

They work in the process that runs the test (with pytest-xdist, the worker), because this process knows the secrets.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.support.machine import Machine
from tests.support.witness import SESSION, fail_if_any

_total = [0, 0, 0]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    for machine in item.funcargs.values() if hasattr(item, "funcargs") else ():
        if report.failed and isinstance(machine, Machine):
            with suppress(RuntimeError):  # if the API server does not answer, `look` learns the secrets at the end
                machine.learn()  # the test may have ended during a command
    return _without_secrets(report)


def _without_secrets(report: pytest.TestReport) -> pytest.TestReport:
    """Remove every secret from a report; if there was one, the test has failed."""
    texts = [(title, text) for title, text in (("its failure", report.longreprtext), *report.sections) if text]
    found = [finding for title, text in texts for finding in SESSION.scanner.scan(text, f"{report.nodeid}: {title}")]
    if found:
        told = "\n".join(["secrets in what pytest prints:", *map(str, found)])
        report.longrepr = f"{SESSION.scanner.redact(report.longreprtext)}\n\n{told}"
        report.sections = [(title, SESSION.scanner.redact(text)) for title, text in report.sections]
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session", autouse=True)
def no_secret_is_shown() -> Iterator[None]:
    """Search every output for every secret at the end, including later secrets and those of other machines."""
    yield
    fail_if_any(SESSION.findings())


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is None:
        _add(SESSION.figures())
    else:
        output["witness"] = SESSION.figures()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    _add(getattr(node, "workeroutput", {}).get("witness", (0, 0, 0)))


def _add(figures: tuple[int, int, int]) -> None:
    _total[:] = [before + more for before, more in zip(_total, figures, strict=True)]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if _total[0]:
        secrets, texts, size = _total
        terminalreporter.write_line(f"secrecy: {secrets} secrets looked for in {texts} texts, {size / 1e6:.1f} MB")
