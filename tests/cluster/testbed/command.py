"""Runs one program of the machine to its end; a failure carries what the program printed."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic, sleep


class CommandFailed(RuntimeError):
    """A program ended with an error."""


def run(
    *command: str | Path, stdin: str | None = None, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """What the program printed on its standard output."""
    done = subprocess.run(
        [str(word) for word in command], input=stdin, env=env, cwd=cwd, text=True, capture_output=True, check=False
    )
    if done.returncode:
        shown = " ".join(str(word) for word in command)
        raise CommandFailed(f"{shown}\nended with {done.returncode}: {(done.stderr or done.stdout).strip()[-4000:]}")
    return done.stdout


def wait_until(condition: Callable[[], bool], what: str, seconds: float, pause: float = 0.05) -> None:
    """Come back once the condition holds; a deadline missed is an error that says what was waited for."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        sleep(pause)
