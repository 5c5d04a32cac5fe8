"""A user on a machine: a home and a state directory of its own, and the real command in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEPLOYER = Path(sys.executable).with_name("deployer")
PASSED_ON = (
    "PATH",
    "LANG",
    "PIP_CACHE_DIR",
    "UV_CACHE_DIR",
    "PIP_CERT",
    "SSL_CERT_FILE",
    "PIP_INDEX_URL",
    "UV_INDEX_URL",
)


@dataclass
class Machine:
    """Runs `deployer` as one user; `environments` is shared where it may be."""

    home: Path
    uid: int | None = None

    @property
    def state(self) -> Path:
        return self.home / "state" / "mlflow-deployer"

    @property
    def env(self) -> dict[str, str]:
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {**passed, "HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state"), "COLUMNS": "160"}

    def share(self, environments: Path) -> None:
        """Use environments that are there already."""
        self.state.mkdir(parents=True, mode=0o700)
        (self.state / "environments").symlink_to(environments)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `deployer`."""
        return [str(DEPLOYER), *arguments]

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start `deployer` in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            env={**self.env, **options.pop("env", {})},
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            text=True,
            start_new_session=True,
            user=self.uid,
            cwd=options.pop("cwd", self.home),
            **options,
        )

    def run(
        self, *arguments: str, code: int | None = 0, stdin: str = "", **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run `deployer` and check its exit code (None: any)."""
        process = self.popen(*arguments, stdin=subprocess.PIPE, **options)
        try:
            out, err = process.communicate(stdin, timeout=300)
        except BaseException:
            kill_group(process)
            raise
        assert code is None or process.returncode == code, f"exit {process.returncode}, wanted {code}\n{out}\n{err}"
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        """Run `deployer ... -o json` and return what it printed."""
        return json.loads(self.run(*arguments, "-o", "json", code=code).stdout)

    def create(self, name: str = "mlflow", *options: str) -> Any:
        """Create a server and return the command's JSON."""
        return self.json("create", name, "--target", "local", *options)

    def password(self, name: str = "mlflow") -> str:
        return self.run("show-password", name).stdout.removesuffix("\n")

    def record(self, name: str = "mlflow") -> Any:
        return json.loads((self.state / "servers" / name / "record.json").read_text())

    def pid(self, name: str = "mlflow") -> int:
        return int(json.loads((self.state / "servers" / name / "process.json").read_text())["pid"])

    def server_python(self) -> str:
        return str(next((self.state / "environments").glob("mlflow-*/bin/python")))

    def processes(self) -> list[int]:
        """Return every living process whose environment names this machine's state directory."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._ours(pid)]

    def _ours(self, pid: int) -> bool:
        try:
            words = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
            zombie = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return False
        return not zombie and str(self.state.parent).encode() in words

    def remains(self) -> list[str]:
        """Return every lock, draft, half-deleted folder and half-made environment; the log of a failed one may stay."""
        left = [*(self.state / "servers").glob(".*"), *(self.state / "servers").glob("*/.draft-*")]
        made = (self.state / "environments").glob("*")
        left += [p for p in made if p.suffix != ".log" and not (p / "complete.json").exists()]
        return [str(path.relative_to(self.state)) for path in left]

    def end(self) -> None:
        """Kill what still runs: only processes of this very machine."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def kill_group(process: subprocess.Popen[str]) -> None:
    """SIGKILL a command and everything it started that has not left its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
