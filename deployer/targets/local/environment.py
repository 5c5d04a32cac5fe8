"""Virtual environments for servers: one per MLflow version and interpreter, shared by all servers of a user."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from deployer.catalogue import CONSTRAINTS
from deployer.core.errors import EnvironmentFailed, NotReady, UnusableValue
from deployer.core.remedies import Remedy
from deployer.core.spec.versions import DEFAULT_MLFLOW, MIN_PYTHON
from deployer.core.stack.model import Package
from deployer.targets import Deadline
from deployer.targets.local import installer, releases
from deployer.targets.local.locks import hold
from deployer.targets.local.store import explained, no_room

_PART: Final = "mlflow-skinny"  # mlflow requires the same release of mlflow-skinny (METADATA of its wheel)
_TESTED: Final = Remedy.INSTALL_TESTED.of(version=DEFAULT_MLFLOW)
_PYTHON: Final = "spec.local.python"
_COMPLETE: Final = "complete.json"
_ROOM_BYTES: Final = 32 << 20  # smaller than each of the larger packages
_NO_ROOM: Final = ("No space left on device", "Disk quota exceeded")  # strerror(3) of ENOSPC and EDQUOT
_PROBE: Final = """
import json, os, sys
base = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps([sys.implementation.name, list(sys.version_info[:3]), os.path.realpath(base)]))
"""
# the same output as `pip freeze` (pip/_internal/operations/freeze.py); environments made by uv have no pip
_FREEZE: Final = """
import importlib.metadata
found = {d.name: d.version for d in importlib.metadata.distributions()}
for name in sorted(found.keys() - {"pip", "setuptools", "wheel", "distribute"}, key=str.lower):
    print(f"{name}=={found[name]}")
"""
_NOT_INHERITED: Final = (
    "PYTHONHOME",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PIP_TARGET",
    "PIP_PREFIX",
    "PIP_USER",
)


@dataclass(frozen=True)
class Interpreter:
    """A Python interpreter that can create virtual environments."""

    implementation: str
    version: tuple[int, int, int]
    path: str


@cache
def interpreter(command: str) -> Interpreter:
    """Return the interpreter of `command`, a path or a name on PATH.

    Raises:
        UnusableValue: the command does not exist, is not a Python 3 interpreter, or is too old for MLflow.
    """
    where = shutil.which(os.path.expanduser(command))
    if where is None:
        raise UnusableValue(_PYTHON, command, "there is no such program", hint="give a path such as /usr/bin/python3")
    try:
        answer = subprocess.run(
            [where, "-I", "-c", _PROBE], capture_output=True, timeout=60, check=True, stdin=subprocess.DEVNULL
        ).stdout
        implementation, version, base = json.loads(answer)
        major, minor, patch = version
    except (OSError, subprocess.SubprocessError, ValueError, TypeError):
        raise UnusableValue(_PYTHON, command, f"{where} is not a Python 3 interpreter") from None
    found = Interpreter(str(implementation), (int(major), int(minor), int(patch)), str(base))
    if found.version[:2] < MIN_PYTHON:
        wanted, has = ".".join(map(str, MIN_PYTHON)), ".".join(map(str, found.version))
        raise UnusableValue(_PYTHON, command, f"MLflow needs Python {wanted} or newer, this is {has}")
    return found


class Environment:
    """The environment of one package for one interpreter."""

    def __init__(self, state: Path, package: Package, python: str | None) -> None:
        self._package = package
        self._base = interpreter(python or sys.executable)
        self._constraints = CONSTRAINTS / package.constraints if package.constraints else None
        tested = self._constraints.read_text("utf-8") if self._constraints else ""
        digest = hashlib.sha256("\n".join((self._base.path, *package.beside, tested)).encode()).hexdigest()[:8]
        version = ".".join(map(str, self._base.version))
        self.folder = (
            state / "environments" / f"{package.name}-{package.version}-{self._base.implementation}-{version}-{digest}"
        )
        self.python = self.folder / "bin" / "python"
        self._install_log = self.folder.with_name(f"{self.folder.name}.log")

    def ready(self) -> bool:
        """Tell whether the environment is complete and its interpreter still exists."""
        return (self.folder / _COMPLETE).is_file() and os.access(self.python, os.X_OK)

    def make(self, deadline: Deadline, waiting: Callable[[str], None]) -> None:
        """Create the environment, with uv if it is installed, else with venv and pip.

        Raises:
            EnvironmentFailed: the installation failed; the message contains the installer's last output.
            NotReady: the installation took too long.
        """
        lock = self.folder.with_name(f".{self.folder.name}.lock")
        with explained(self.folder), hold(lock, f"making {self.folder.name}", deadline, waiting) as descriptor:
            if self.ready():
                return
            self._install(deadline, descriptor)
            made = {
                "requirement": self._package.requirement,
                "python": self._base.path,
                "packages": f"sha256:{hashlib.sha256(self._freeze()).hexdigest()}",
            }
            draft = self.folder / f"{_COMPLETE}.draft"
            draft.write_text(json.dumps(made), "utf-8")
            draft.replace(self.folder / _COMPLETE)
            self._install_log.unlink(missing_ok=True)

    def packages(self) -> str | None:
        """Return `sha256:` and the SHA-256 of the environment's `pip freeze` output; None before it was created."""
        try:
            made = json.loads((self.folder / _COMPLETE).read_text("utf-8"))
        except FileNotFoundError:
            return None
        return str(made["packages"]) if "packages" in made else None

    def _freeze(self) -> bytes:
        return subprocess.run(
            [self.python, "-I", "-c", _FREEZE], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True
        ).stdout

    def _install(self, deadline: Deadline, lock: int) -> None:
        failures: list[str] = []
        self._install_log.unlink(missing_ok=True)  # from an earlier attempt
        for steps in self._ways():
            shutil.rmtree(self.folder, ignore_errors=True)  # remains of a killed attempt
            failure = self._run(steps, deadline, lock)
            if not failure:
                return
            shutil.rmtree(self.folder, ignore_errors=True)
            failures.append(f"{Path(steps[-1][0]).name}: {failure}")
            self._require_release()
        raise self._failed(failures)

    def require_release(self) -> None:
        """Check that the package index has the release before it is installed.

        Do nothing if the index does not answer: the installer then reports the reason.

        Raises:
            EnvironmentFailed: the index lacks the release.
        """
        if self.ready() or self._package.version == DEFAULT_MLFLOW:
            return
        name, version, env, uv = self._package.name, self._package.version, _outside_environments(), _uv()
        known = releases.known_to_pip(self._base.path, name, env)
        if (
            known
            and version not in known
            and not (uv and releases.known_to_uv(uv, self._base.path, name, version, env))
        ):
            raise self._no_release(known)

    def _require_release(self) -> None:
        """Check whether an installer has failed because the index lacks the release.

        Raises:
            EnvironmentFailed: the index lacks the release.
        """
        words = self._install_log.read_text("utf-8", "replace")
        if not releases.is_missing(self._package.requirement, words):
            return
        known = releases.known_to_pip(self._base.path, self._package.name, _outside_environments())
        if self._package.version not in known:  # pip may be configured with an index that uv does not know
            self._install_log.unlink(missing_ok=True)
            raise self._no_release(known)

    def _no_release(self, known: Sequence[str]) -> EnvironmentFailed:
        name, version, env, uv = self._package.name, self._package.version, _outside_environments(), _uv()
        minor = ".".join(version.split(".")[:2])

        def listed(package: str) -> Sequence[str]:
            found = known if package == name else releases.known_to_pip(self._base.path, package, env)
            return found or (releases.known_to_uv(uv, self._base.path, package, f"{minor}.*", env) if uv else ())

        parts = listed(_PART)
        newest = releases.newest([found for found in listed(name) if not parts or found in parts], version)
        hint = Remedy.INSTALL_NEWEST.of(minor=minor, version=newest) if newest else _TESTED
        return EnvironmentFailed(
            f"the package index has no release {version} of {name} for {self._base.path}", hint=hint
        )

    def _failed(self, failures: Sequence[str]) -> EnvironmentFailed:
        """Return an error that names the packages that the index lacks, else one with the installers' output."""
        version, wanted = self._package.version, self._package.requirement
        missing = releases.missing(self._install_log.read_text("utf-8", "replace"))
        if missing is not None and version != DEFAULT_MLFLOW:
            return EnvironmentFailed(
                f"MLflow {version} cannot be installed: the package index has no {' '.join(missing)}", hint=_TESTED
            )
        return EnvironmentFailed(
            f"cannot install {wanted} for {self._base.path}\n  " + "\n  ".join(failures),
            hint=f"the installer's whole output is in {self._install_log}",
        )

    def _ways(self) -> list[list[Sequence[str]]]:
        """Return the ways to create the environment, each a list of commands.

        pip is tried after uv, because uv does not read pip's configuration.
        """
        folder, python, base = str(self.folder), str(self.python), self._base.path
        wanted = [self._package.requirement, *self._package.beside]
        if self._constraints:
            wanted += ["--constraint", str(self._constraints)]
        ways: list[list[Sequence[str]]] = []
        if uv := _uv():
            install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", python, *wanted]
            ways.append([[uv, "venv", "--quiet", "--python", base, folder], install])
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        ways.append([[base, "-m", "venv", folder], pip])
        return ways

    def _run(self, steps: Sequence[Sequence[str]], deadline: Deadline, lock: int) -> str:
        """Run the commands; return the error of the first failed command, "" if all succeeded."""
        env = _outside_environments()
        for command in steps:
            with self._install_log.open("ab") as log:
                try:
                    code = installer.run(command, env=env, log=log, lock=lock, seconds=max(deadline.left, 0.1))
                except subprocess.TimeoutExpired:
                    shutil.rmtree(self.folder, ignore_errors=True)
                    raise NotReady(
                        f"installing {self._package.requirement} took too long", hint=Remedy.GIVE_TIME
                    ) from None
                except OSError as error:
                    return f"{command[0]}: {error.strerror}"
            if code:
                words = _last_words(self._install_log) or f"{command[0]} ended with {code}"
                self._require_room(words)
                return words
        return ""

    def _require_room(self, words: str) -> None:
        """Check whether an installer has failed for lack of disk space: another installer would need as much.

        Raises:
            NoRoom: the disk is full, or the installer says so.
        """
        disk = os.statvfs(self.folder.parent)
        full = disk.f_bavail * disk.f_frsize < _ROOM_BYTES  # the log may lack the reason on a full disk
        if full or any(reason in words for reason in _NO_ROOM):
            shutil.rmtree(self.folder, ignore_errors=True)
            raise no_room(self.folder.parent if full else f"the place that the installer names: {words}")


def _outside_environments() -> dict[str, str]:
    """Return the environment variables of this process, except those that direct installers to another environment."""
    return {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}


def _uv() -> str | None:
    """Return uv from this Python's folder (`pip install mlflow-deployer[uv]`) or from PATH, else None."""
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("uv")


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
    telling = [line for line in lines if "error" in line.lower() or "No space left" in line]
    return (telling or lines or [""])[-1]
