"""Builds of the test cluster show their tasks and the progress."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.testbed import progress
from tests.testbed.command import CommandFailed, follow, wait_until

ROOT = Path(__file__).parents[2]


def test_a_line_arrives_while_the_program_still_runs(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    program = f"echo first; until [ -e {seen} ]; do sleep 0.01; done; echo second >&2"
    lines: list[str] = []

    def told(line: str) -> None:
        lines.append(line)
        seen.touch()

    follow("sh", "-c", program, told=told)
    assert lines == ["first", "second"]


def test_a_failure_contains_the_output() -> None:
    with pytest.raises(CommandFailed, match=r"ended with 3: one\ntwo$"):
        follow("sh", "-c", "echo one; echo two >&2; exit 3", told=lambda _: None)


def test_tasks_of_all_threads_are_shown_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "ELSEWHERE_SECONDS", 0.01)
    shown = ""

    def is_shown(pattern: str) -> bool:
        nonlocal shown
        shown += capsys.readouterr().err
        return re.search(pattern, shown) is not None

    ended = threading.Event()

    def beside() -> None:
        with progress.task("building layers"):
            ended.wait(60)

    thread = threading.Thread(target=beside)
    with progress.task("building node") as task:
        task.how_far = "412 of 2800 packages"
        thread.start()
        both = r"(?m)^testbed: building node: 412 of 2800 packages, \d+ s; building layers: running, \d+ s$"
        wait_until(lambda: is_shown(both), "both tasks", 60)
        ended.set()
        thread.join()
    assert is_shown(r"(?m)^testbed: building node: done after \d+ s$")


def test_a_failed_task_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="no"), progress.task("building node"):
        raise ValueError("no")
    assert "testbed: building node: failed after " in capsys.readouterr().err


def test_on_a_terminal_one_line_is_rewritten() -> None:
    program = (
        "import sys; from tests.testbed import progress\n"
        "with progress.task('building node') as task:\n"
        "    task.how_far = '3 of 9'\n"
        "    sys.stdin.read()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    reader, writer = pty.openpty()
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stderr=writer) as process:
        os.close(writer)
        printed = ""
        while "3 of 9" not in printed:
            printed += os.read(reader, 65536).decode()
        assert process.stdin is not None
        process.stdin.close()
        while "done" not in printed:
            printed += os.read(reader, 65536).decode()
    os.close(reader)
    last = r"\r\x1b\[Ktestbed: building node: 3 of 9, \d+ s\r\x1b\[Ktestbed: building node: done after \d+ s\r\n$"
    assert re.search(last, printed), repr(printed)
