"""Runs a program to its end; a failure contains the program's output."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, sleep

LAST_LINES = 60


class CommandFailed(RuntimeError):
    """A program ended with an error."""


def run(
    *command: str | Path, stdin: str | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Run a program and return its standard output."""
    done = subprocess.run(
        [str(word) for word in command], input=stdin, env=env, cwd=cwd, text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise _failure(command, done.returncode, done.stderr or done.stdout)
    return done.stdout


def follow(
    *command: str | Path, told: Callable[[str], None], env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> None:
    """Run a program and call `told` with each line of its output at once."""
    last: deque[str] = deque(maxlen=LAST_LINES)
    process = subprocess.Popen(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, cwd=cwd, text=True,
    )  # fmt: skip
    with process:
        try:
            for line in process.stdout or ():
                last.append(line)
                told(line.rstrip("\n"))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise _failure(command, process.returncode, "".join(last))


def _failure(command: tuple[str | Path, ...], code: int, printed: str) -> CommandFailed:
    shown = " ".join(str(word) for word in command)
    return CommandFailed(f"{shown}\nended with {code}: {printed.strip()[-4000:]}")


def wait_until(condition: Callable[[], bool], what: str, seconds: float, pause: float = 0.05) -> None:
    """Wait until a condition holds; raise TimeoutError with `what` after the deadline."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        sleep(pause)
