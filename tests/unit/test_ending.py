"""A signal ends a command even where Python drops the exception of its handler."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
import typer

from deployer.cli.ending import interruptible

# sends a signal in the middle of the fork, for a command that would run for a minute
DURING_A_FORK = """
import os, signal, sys, tempfile
from deployer.cli.ending import interruptible
from deployer.targets.local import installer
import typer

os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))
try:
    with tempfile.TemporaryFile() as log, interruptible():
        installer.run(["sleep", "60"], env=os.environ, log=log, lock=log.fileno(), seconds=60)
except typer.Exit as end:
    sys.exit(end.exit_code)
"""


class EndsByASignal:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_a_signal_ends_the_command_even_where_python_drops_its_exception(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def waits() -> None:
        with interruptible():
            EndsByASignal()
            time.sleep(60)

    with pytest.raises(typer.Exit) as end:
        waits()
    assert end.value.exit_code == 128 + signal.SIGINT
    assert "Interrupted by SIGINT" in capsys.readouterr().err


def test_other_dropped_exceptions_are_reported_as_before() -> None:
    class Fails:
        def __del__(self) -> None:
            raise ValueError("of its own")

    heard = []
    before, sys.unraisablehook = sys.unraisablehook, lambda lost: heard.append(str(lost.exc_value))
    try:
        with interruptible():
            Fails()
    finally:
        sys.unraisablehook = before
    assert heard == ["of its own"]


def test_a_signal_during_the_fork_of_an_installer_ends_the_installer_and_the_command() -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", DURING_A_FORK], capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 50
