"""A copy of the checkout with its own virtual environment, in which the product is broken and tested.

The checkout itself is only read. After an interruption of any kind, nothing has to be undone.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.mutations.outcomes import FAILED
from tests.mutations.table import ROOT, Break

ENVIRONMENTS = "DEPLOYER_TEST_ENVIRONMENTS"  # read by tests/local/conftest.py
STARTS = "tests/mutations/starts.py"
CHECKS_THE_TABLE = "tests/unit/test_mutations.py"  # fails with every break: `old` is gone
SECONDS_PER_TEST = 600
SECONDS = 3600  # of one run of pytest
SECONDS_TO_END = 60.0
_SAME, _FAILED_TESTS, _NO_TESTS = 0, 1, 5  # exit codes of pytest


class Unusable(Exception):
    """The copy cannot be made or tested; the text says why."""


@dataclass(frozen=True)
class Workshop:
    """A copy in its own folder. `state` is the folder of the servers' environment, which several copies share."""

    folder: Path
    state: Path
    over: threading.Event  # once set, running commands end and no new command starts
    show: bool = False  # print what pytest prints

    @property
    def tree(self) -> Path:
        """Return the copy of the checkout."""
        return self.folder / "tree"

    @property
    def python(self) -> Path:
        """Return the Python interpreter of the copy."""
        return self.tree / ".venv" / "bin" / "python"

    def make(self) -> None:
        """Copy the files that git tracks or would add, and install the copy with the packages for the tests."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, check=True, timeout=60,
        ).stdout  # fmt: skip
        for name in {os.fsdecode(one) for one in listed.split(b"\0") if one}:
            source, copy = ROOT / name, self.tree / name
            if source.is_file():  # a missing file was deleted, and the deletion is not committed yet
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, copy)
        uv = str(Path(sys.executable).with_name("uv"))
        self._run([uv, "venv", "--quiet", "--python", sys.executable, str(self.tree / ".venv")], "make an environment")
        install = [uv, "pip", "install", "--quiet", "--python", str(self.python), "--constraint", "constraints.txt"]
        self._run([*install, "--editable", ".[uv,test]"], "install the copy")

    def make_environment(self) -> None:
        """Install MLflow once for the servers of all runs and copies, with the product as it is."""
        env = {**os.environ, "HOME": str(self.folder), "XDG_STATE_HOME": str(self.state)}
        env.setdefault("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
        deployer = str(self.python.with_name("deployer"))
        self._run([deployer, "create", "builder", "--target", "local"], "make a server's environment", env)
        self._run([deployer, "delete", "builder", "--delete-data", "--yes"], "delete the server", env)

    def _run(self, command: Sequence[str], purpose: str, env: dict[str, str] | None = None) -> None:
        done = subprocess.run(
            command, cwd=self.tree, env=env, capture_output=True, text=True, timeout=1800, check=False
        )
        if done.returncode:
            raise Unusable(f"cannot {purpose}: {' '.join(command)}\n{done.stdout}{done.stderr}")

    @contextmanager
    def broken(self, one: Break) -> Iterator[None]:
        """Make one mistake in the copy, and undo it afterwards."""
        path = self.tree / one.file
        text = path.read_text("utf-8")
        _write(path, one.broken(text))
        try:
            yield
        finally:
            _write(path, text)

    def failed(self, scope: Sequence[str]) -> frozenset[str]:
        """Run tests; return those that failed, and the files that could not be imported.

        Raises:
            Unusable: pytest itself could not run them.
        """
        answer = self.folder / "failed"
        answer.unlink(missing_ok=True)
        command = [
            str(self.python), "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-p",
            "tests.mutations.outcomes", f"--timeout={SECONDS_PER_TEST}", f"--ignore={CHECKS_THE_TABLE}",
            *scope,
        ]  # fmt: skip
        env = {**os.environ, FAILED: str(answer)}
        if self.state.exists():
            env[ENVIRONMENTS] = str(self.state / "mlflow-deployer" / "environments")
        with (self.folder / "output").open("w+b") as output:
            code = self._ended(command, env, None if self.show else output.fileno())
            output.seek(0)
            said = output.read().decode("utf-8", "replace")
        if code not in (_SAME, _FAILED_TESTS) and not answer.exists():
            raise Unusable(f"pytest ended with {code}\n{said[-4000:]}")
        found = frozenset(answer.read_text("utf-8").splitlines())
        if code == _NO_TESTS or (code and not found):
            raise Unusable(f"pytest ended with {code}, and no test failed\n{said[-4000:]}")
        return found

    def _ended(self, command: Sequence[str], env: dict[str, str], output: int | None) -> int:
        """Run a command to its end; if the whole run is over earlier, end the command and its child processes."""
        process = subprocess.Popen(
            command, cwd=self.tree, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        until = time.monotonic() + SECONDS
        try:
            while not self.over.is_set() and time.monotonic() < until:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(0.2)
            raise Unusable("interrupted" if self.over.is_set() else f"pytest has not ended in {SECONDS} s")
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # the fixtures end the servers that the tests have started
                with suppress(subprocess.TimeoutExpired):
                    process.wait(SECONDS_TO_END)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


_moments = itertools.count(int(time.time()) - 10**6, 2)


def _write(path: Path, text: str) -> None:
    """Write a source file with a time that no earlier version had: Python finds old bytecode by time and size."""
    path.write_text(text, "utf-8")
    moment = next(_moments)
    os.utime(path, (moment, moment))
