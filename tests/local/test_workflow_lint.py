"""GitHub's workflows pass actionlint. actionlint is a Go program, like the test cluster; the check needs Go."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go")
def test_actionlint_finds_nothing_in_the_workflows() -> None:
    command = ["make", "--silent", "lint-workflows"]
    done = subprocess.run(command, cwd=CHECKOUT, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
