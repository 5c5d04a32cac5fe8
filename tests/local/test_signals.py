"""SIGTERM and SIGHUP end a command and its child processes as Ctrl-C does: with a message; the command can continue."""

from __future__ import annotations

import random
import signal
import subprocess
import time

import pytest

from tests.support.machine import Machine

CREATE = ("create", "--target", "local")
ENDING = (signal.SIGTERM, signal.SIGHUP)


def until(process: subprocess.Popen[str], words: str) -> str:
    """Read standard error until these words appear; return the text."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if words in line:
            return said
    raise AssertionError(f"never said {words!r}\n{said}")


def installers(machine: Machine) -> list[int]:
    """Wait for processes of an installation; return them."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        found = [pid for pid in machine.processes() if b"install" in machine.command_line(pid)]
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("nothing was installed")


def test_a_signal_ends_the_installer_and_the_next_create_does_not_wait(bare_machine: Machine, seed: int) -> None:
    machine, chance = bare_machine, random.Random(f"{seed} installer")
    for number in (*ENDING, signal.SIGKILL):
        process = machine.popen(*CREATE)
        said = until(process, "] environment ...")
        installers(machine)
        time.sleep(chance.uniform(0, 3))
        process.send_signal(number)  # only to the command, as `kill` and service managers do
        out, err = process.communicate(timeout=60)
        assert "waiting for" not in said
        assert out == ""
        if number != signal.SIGKILL:
            assert process.returncode == 128 + number
            assert f"Interrupted by {number.name}. Nothing is lost" in err
            assert "Traceback" not in err
            assert machine.processes() == []
            assert list((machine.state / "environments").glob(".*.lock")) == []
        else:
            limit = time.monotonic() + 30
            while machine.processes() and time.monotonic() < limit:  # the kernel ends the processes
                time.sleep(0.05)
            assert machine.processes() == []


@pytest.mark.timeout(3600)
def test_a_signal_at_any_instant_ends_a_create_with_a_message_and_the_same_command_continues(
    machine: Machine, seed: int, soak: bool
) -> None:
    chance = random.Random(f"{seed} signals")
    for number in ENDING * (15 if soak else 1):
        process = machine.popen(*CREATE)
        until(process, "Target: ")
        time.sleep(chance.uniform(0, 6))
        process.send_signal(number)
        process.send_signal(number)  # systemd and impatient people send more than one
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, 128 + number), err
        assert "Traceback" not in err
        assert process.returncode == 0 or f"Interrupted by {number.name}" in err
    again = machine.run(*CREATE)
    assert "waiting for" not in again.stderr
    assert machine.json("status")["proven"] is True
    assert len(machine.processes()) == 1
    assert machine.remains() == []
