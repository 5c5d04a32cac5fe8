"""A user on a machine: a home, a state directory, and the real command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import in_process
from tests.support.witness import SESSION, HeardProcess, Witness, fail_if_any, parsed

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
# commands that print a secret on standard output on purpose
PRINT_SECRETS = frozenset({"show-password"})
SECRETS = "secrets.json"
# commands that may run in the test process, because only their result matters
READING = frozenset({"status", "list"})


@dataclass
class Machine:
    """Runs `deployer` as one user; its witness gets all outputs."""

    home: Path
    uid: int | None = None
    witness: Witness = field(default_factory=lambda: Witness(SESSION))
    states: set[Path] = field(default_factory=set)
    wrap: Callable[[Sequence[str]], Sequence[str]] = list

    @property
    def state(self) -> Path:
        return self.home / "state" / "mlflow-deployer"

    @property
    def env(self) -> dict[str, str]:
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        return {**passed, "HOME": str(self.home), "XDG_STATE_HOME": str(self.home / "state"), "COLUMNS": "160"}

    def share(self, environments: Path) -> None:
        """Use existing environments of MLflow."""
        self.state.mkdir(parents=True, mode=0o700)
        (self.state / "environments").symlink_to(environments)

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of `deployer`."""
        return self.inside([str(DEPLOYER), *arguments])

    def inside(self, command: list[str]) -> list[str]:
        """Return the command line that runs a command in the same network and namespaces as `deployer`."""
        return command

    def popen(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start `deployer` in a new process group."""
        return self.program(self.command(*arguments), arguments, **options)

    def program(
        self, command: Sequence[str], arguments: Sequence[str] = ("",), **options: Any
    ) -> subprocess.Popen[str]:
        """Start any program as this user; the witness treats it as `deployer` with these arguments."""
        env = {**self.env, **options.pop("env", {})}
        self.before(arguments, env)
        said = f"the output of `deployer {' '.join(arguments)}`"[:200]
        hear = self.witness.listen(f"{said} (stdout)"), self.witness.listen(f"{said} (stderr)")
        return HeardProcess(
            self.wrap(command),
            env=env,
            hear=((lambda _: None) if arguments[0] in PRINT_SECRETS else hear[0], hear[1]),
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
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
        return self.ended(process, code, stdin, arguments)

    def here(
        self, *arguments: str, code: int | None = 0, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `deployer` in the test process and check its exit code (None: any).

        Use it for commands that start no process. A new process costs 0.4 s of CPU, mostly for imports.
        """
        self.before(arguments, {**self.env, **(env or {})})
        done = in_process.run(arguments, {**self.env, **(env or {})}, self.home, stdin)
        self.hear(f"`deployer {' '.join(arguments)}`"[:200], *done[2 if arguments[0] in PRINT_SECRETS else 1 :])
        assert code is None or done[0] == code, f"exit {done[0]}, wanted {code}\n{done[1]}\n{done[2]}"
        return subprocess.CompletedProcess(arguments, *done)

    @property
    def can_be_here(self) -> bool:
        """Tell whether a command may run in the test process: same user, no wrapper, no cluster, main thread."""
        same = self.uid is None and self.wrap is list and type(self) is Machine
        return same and threading.current_thread() is threading.main_thread()

    def shell(self, script: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a shell script as this user; `$DEPLOYER` is the path of `deployer`."""
        command = self.inside(["sh", "-c", script])
        return self.ended(self.program(command, (script,), env={"DEPLOYER": str(DEPLOYER)}), code)

    def hear(self, who: str, *outputs: str) -> None:
        """Pass the output of a program that this class did not start to the witness."""
        for output in outputs:
            self.witness.listen(f"the output of {who}")(output.encode(errors="surrogateescape"))

    def ended(
        self, process: subprocess.Popen[str], code: int | None, stdin: str = "", arguments: Sequence[str] = ("",)
    ) -> subprocess.CompletedProcess[str]:
        """Wait for the end of a command and check its exit code (None: any)."""
        try:
            out, err = process.communicate(stdin, timeout=300)
        except BaseException:
            kill_group(process)
            raise
        finally:
            self.after(arguments)
        assert code is None or process.returncode == code, f"exit {process.returncode}, wanted {code}\n{out}\n{err}"
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def before(self, arguments: Sequence[str], env: dict[str, str]) -> None:
        """Search for secrets before a command that may remove texts."""
        self.states.add(Path(env["XDG_STATE_HOME"]) / "mlflow-deployer")
        Machine.learn(self)  # secrets of the last command, if no test waited for its end
        if arguments[0] == "delete":
            self.look()

    def after(self, arguments: Sequence[str]) -> None:  # a subclass uses the arguments
        """Learn the secrets that a command may have made."""
        self.learn()

    def learn(self) -> None:
        """Learn all stored secrets."""
        for state in self.states:
            with suppress(OSError):  # a test may have made the folder unreadable
                for path in (state / "servers").glob(f"*/{SECRETS}"):
                    self.witness.learn_all(path.parent.name, parsed(path.read_bytes()))

    def look(self) -> None:
        """Search all texts that others may read: files except secrets and artifacts, and command lines."""
        self.learn()
        if not self.witness.secrets:
            return
        for path in (path for state in self.states for path in shown_files(state)):
            with suppress(OSError):  # the file has just been removed
                content = path.read_bytes()
                if path.name.startswith(".draft-") and "admin" in (parsed(content) or {}):
                    continue  # secrets that a killed deployer was about to store
                self.witness.examine(content, f"the file {path}")
        for pid in self.processes():
            with suppress(OSError):
                self.witness.examine(Path(f"/proc/{pid}/cmdline").read_bytes(), f"the command line of process {pid}")

    def json(self, *arguments: str, code: int | None = 0) -> Any:
        """Run `deployer ... -o json` and return what it printed."""
        run = self.here if self.can_be_here and arguments[0] in READING else self.run
        return json.loads(run(*arguments, "-o", "json", code=code).stdout)

    def create(self, name: str = "mlflow", *options: str) -> Any:
        """Create a server and return the command's JSON."""
        return self.json("create", name, "--target", "local", *options)

    def password(self, name: str = "mlflow") -> str:
        run = self.here if self.can_be_here else self.run
        return run("show-password", name).stdout.removesuffix("\n")

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

    @staticmethod
    def command_line(pid: int) -> bytes:
        """Return the arguments of a process, each followed by NUL; nothing if the process has ended."""
        with suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        return b""

    def remains(self) -> list[str]:
        """Return every lock, draft, half-deleted folder and incomplete environment; a log of a failure may stay."""
        left = [*(self.state / "servers").glob(".*"), *(self.state / "servers").glob("*/.draft-*")]
        made = (self.state / "environments").glob("*")
        left += [p for p in made if p.suffix != ".log" and not (p / "complete.json").exists()]
        return [str(path.relative_to(self.state)) for path in left]

    def end(self) -> None:
        """Kill all processes of this machine, and no others."""
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Tell whether a process still exists; its locks can outlive its environment.

    The first thread can be a zombie while other threads still hold the locks.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in "ZX" or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def shown_files(state: Path) -> Iterator[Path]:
    """Yield the files of a state directory that should hold no secret: logs, records, locks, drafts, databases."""
    for folder, below, names in os.walk(state):
        if Path(folder).parent == state / "environments":
            below.clear()  # skip a Python and its packages, but not the logs beside them
        if folder.endswith("/data"):
            below[:] = [name for name in below if name != "artifacts"]
        yield from (path for name in names if name != SECRETS and (path := Path(folder, name)).is_file())


@contextmanager
def watched(machines: Sequence[Machine]) -> Iterator[None]:
    """At the end of the block, end the machines and fail if one of them ever showed a secret."""
    try:
        yield
        for machine in machines:
            machine.look()
    finally:
        for machine in machines:
            machine.end()
    fail_if_any(finding for machine in machines for finding in machine.witness.findings())


def kill_group(process: subprocess.Popen[str]) -> None:
    """Kill a command and its process group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
