"""Kills a command and its child processes at seeded random instants, or stops it at a chosen instant."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from tests.support.machine import Machine, kill_group

BEGIN = re.compile(r"\[\d+/\d+\] (\S+) \.\.\.")
END = re.compile(r"(?:ok|--) (\S+): ")
STOPPING = Path(__file__).with_name("stopping.py")

Spans = dict[str, tuple[float, float]]
_User = TypeVar("_User", bound=Machine)


def measure(machine: Machine, command: tuple[str, ...]) -> tuple[float, Spans]:
    """Run a command to its end; return its duration and the span of each step, in seconds from the start."""
    start, spans = time.monotonic(), Spans()
    process = machine.popen(*command)
    assert process.stderr is not None
    begun = 0.0
    for line in process.stderr:
        now = time.monotonic() - start
        if BEGIN.match(line):
            begun = now
        elif (end := END.match(line)) and begun:
            spans[end[1]] = (begun, now)
            begun = 0.0
    process.communicate()
    assert process.returncode == 0
    return time.monotonic() - start, spans


def kill_after(machine: Machine, command: tuple[str, ...], seconds: float) -> None:
    process = machine.popen(*command)
    time.sleep(seconds)  # the random instant
    kill_group(process)


def kill_in_step(machine: Machine, command: tuple[str, ...], step: str, chance: random.Random, length: float) -> None:
    """Kill a command in a step, after a random part of the step's measured duration."""
    process = machine.popen(*command)
    assert process.stderr is not None
    for line in process.stderr:
        begin = BEGIN.match(line)
        if begin and begin[1] == step:
            break
    else:
        pytest.fail(f"step {step} never began")
    threading.Event().wait(chance.uniform(0, length))
    kill_group(process)


def interrupt_in_step(machine: Machine, command: tuple[str, ...], step: str) -> None:
    """Send SIGINT in a step; the command must end at once and print that the same command continues."""
    process = machine.popen(*command)
    assert process.stderr is not None
    for line in process.stderr:
        if f"] {step} ..." in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command continues" in err
    assert "Traceback" not in err


def instants(seed: int, what: str, count: int, duration: float) -> list[float]:
    chance = random.Random(f"{seed} {what}")
    return [chance.uniform(0, duration) for _ in range(count)]


def kills_of(
    seed: int, what: str, command: tuple[str, ...], measured: tuple[float, Spans], *, soak: bool
) -> list[Callable[[_User], None]]:
    """Return a kill at a random instant of each step, and kills at any instant: 50 in a soak, else up to six in all."""
    duration, spans = measured
    anywhere = instants(seed, what, 50 if soak else max(0, 6 - len(spans)), duration)
    kills: list[Callable[[_User], None]] = [
        lambda user, instant=instant: kill_after(user, command, instant) for instant in anywhere
    ]
    return kills + [
        lambda user, step=step, length=end - begin: kill_in_step(
            user, command, step, random.Random(f"{seed} {what} {step}"), length
        )
        for step, (begin, end) in spans.items()
    ]


def stopped_after(machine: Machine, line: str, *command: str) -> subprocess.Popen[str]:
    """Start a command that stops itself right after it has printed a line that begins with `line`."""
    program = machine.inside([sys.executable, "-I", str(STOPPING), line, *command])
    process = machine.program(program, command)
    assert process.stderr is not None
    for said in process.stderr:
        if said.startswith(line):
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            return process
    raise AssertionError(f"never said {line!r}")


def go_on(process: subprocess.Popen[str]) -> None:
    """Continue a stopped command; it must succeed."""
    os.killpg(process.pid, signal.SIGCONT)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, f"{out}\n{err}"
