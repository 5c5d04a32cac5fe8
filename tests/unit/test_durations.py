"""With --slowest a run ends with minutes per folder and the slowest tests, with one process and with several."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
INNER = {
    "tests/slow/test_a.py": """
import time
import pytest

@pytest.fixture
def late():
    time.sleep(0.4)
    yield
    time.sleep(0.4)

def test_with_a_slow_fixture(late):
    time.sleep(0.4)

def test_that_fails():
    time.sleep(0.6)
    assert False
""",
    "tests/fast/test_b.py": "def test_quick(): pass\n",
}


@pytest.mark.parametrize("options", [(), ("--numprocesses", "2")], ids=["alone", "with workers"])
def test_setup_call_and_teardown_are_added_up_for_each_test_and_folder(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    for name, source in INNER.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(source)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.support.durations", "--slowest", "2", *options],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    shown = done.stdout.partition("minutes per folder and the 2 slowest tests")[2].splitlines()
    folders = [re.fullmatch(r" +([0-9.]+) min  (\S+) \((\d+) tests\)", line) for line in shown]
    assert [match.groups()[1:] for match in folders if match] == [("tests/slow", "2"), ("tests/fast", "1")], done.stdout
    tests = [match.groups() for line in shown if (match := re.fullmatch(r" +([0-9.]+) s    (\S+)", line))]
    assert [name for _, name in tests] == [
        "tests/slow/test_a.py::test_with_a_slow_fixture",
        "tests/slow/test_a.py::test_that_fails",
    ]
    assert float(tests[0][0]) >= 1.2
