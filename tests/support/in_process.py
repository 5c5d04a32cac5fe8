"""Runs the command line `deployer` in the process of the tests."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import chdir
from pathlib import Path

import pytest


def run(arguments: Sequence[str], env: Mapping[str, str], folder: Path, stdin: str = "") -> tuple[int, str, str]:
    """Run a command in a folder, with only these environment variables; return its exit code and both outputs."""
    from typer.testing import CliRunner

    from deployer.cli.app import app

    with pytest.MonkeyPatch.context() as patch, chdir(folder):
        for name in os.environ.keys() - env.keys():
            patch.delenv(name)
        for name, value in env.items():
            patch.setenv(name, value)
        done = CliRunner().invoke(app, list(arguments), input=stdin, prog_name="deployer")
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr
