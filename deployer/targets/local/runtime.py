"""Runs the workloads of one server as processes of this machine, each when the workloads that it needs are ready."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from deployer.core.errors import NotReady, ServerRefused, last_line
from deployer.core.manifests.changes import Change
from deployer.core.remedies import Hint, Remedy, ServerRef
from deployer.core.secrets.values import Secrets
from deployer.core.stack.model import SERVER, Stack, Workload
from deployer.core.status.last_words import REFUSAL, reason
from deployer.targets import Circumstances, Deadline, Live, Program
from deployer.targets.local import process
from deployer.targets.local.environment import Environment
from deployer.targets.local.folders import WorkloadFolder
from deployer.targets.local.installation import environment_of
from deployer.targets.local.logs import last_words, lines_of
from deployer.targets.local.memory import killed_for_memory
from deployer.targets.local.observation import combined, together
from deployer.targets.local.other_machine import OtherMachine
from deployer.targets.local.ports import Ports
from deployer.targets.local.readiness import answers
from deployer.targets.local.room import used
from deployer.targets.local.store import LocalStore, explained, no_room
from deployer.targets.local.temporary import clear, make_private
from deployer.targets.local.texts import Texts

_TELLING_LINES: Final = 200
_COUNTING_SECONDS: Final = 5.0
_ROOM_BYTES: Final = 1 << 20


class LocalRuntime:
    """Runs the processes of one server."""

    def __init__(self, state: Path, store: LocalStore, other_machine: OtherMachine) -> None:
        self._state = state
        self._store = store
        self._other_machine = other_machine
        self._ports = Ports(state, store.folder.name)
        self._children: dict[str, int] = {}

    def pending(self, stack: Stack, live: Live) -> tuple[Change, ...]:
        """Return a single change if the processes would be replaced: their settings are known only as a hash."""
        if live.state != "running":
            return (Change("process", live.state, "running"),)
        texts = Texts(self._store, stack)
        wanted = combined({w.name: texts.fingerprint(w, self._environment(w)) for w in stack.workloads})
        return () if live.fingerprint == wanted else (Change("process settings", live.fingerprint, wanted),)

    def drift(self, stack: Stack, live: Live) -> tuple[Change, ...]:
        """Return the result of `pending`. Other programs cannot change a process's settings.

        Raises:
            Conflict: the server runs on another machine.
        """
        if live.state == "elsewhere":
            self._other_machine.require_gone(live)
        return self.pending(stack, live)

    def apply(self, stack: Stack, secrets: Secrets, deadline: Deadline) -> None:
        """Stop all processes. Then start each workload of `stack` when the workloads that it needs are ready.

        Return as soon as the last process exists.

        Raises:
            NotReady: a workload that another one needs has ended, or is not ready by the deadline.
            Conflict: the port of a workload is taken.
        """
        texts = Texts(self._store, stack)
        commands = {w.name: texts.command(w, self._environment(w), secrets) for w in stack.workloads}
        variables = {w.name: texts.variables(w, secrets) for w in stack.workloads}
        self.stop(deadline)
        with explained(self._store.folder):
            self._clear_others(stack)
            for path in (self._store.data, *(self._store.volume(volume.name) for volume in stack.volumes)):
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for workload in stack.workloads:
                self._write(workload, texts)
        for workload in stack.start_order:
            for need in workload.needs:
                self._await(stack.workload(need), stack, deadline)
            fingerprint = texts.fingerprint(workload, self._environment(workload))
            self._start(workload, fingerprint, commands[workload.name], variables[workload.name])

    def _clear_others(self, stack: Stack) -> None:
        """Remove the files of workloads that the server does not have any more; their volumes stay."""
        names = {workload.name for workload in stack.workloads}
        for folder in self._store.workloads():
            if folder.name not in names and folder.name != SERVER:
                clear(folder.path)

    def _write(self, workload: Workload, texts: Texts) -> None:
        """Replace the files of a workload, so that none of an earlier release remains.

        From then on `observe` expects the workload to run.
        """
        folder = self._store.workload(workload.name)
        folder.path.mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(folder.files, ignore_errors=True)
        folder.files.mkdir(mode=0o700, exist_ok=True)
        make_private(folder.temporary)
        for name, text in texts.files(workload).items():
            (folder.files / name).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder.files / name).write_text(text, "utf-8")
        if folder.log.exists():  # one log per run: error messages quote the last lines, which must be of this run
            folder.log.replace(folder.log.with_suffix(".log.1"))

    def _start(self, workload: Workload, fingerprint: str, command: list[str], env: dict[str, str]) -> None:
        folder = self._store.workload(workload.name)
        with explained(folder.path), self._ports.listen_for(workload) as listener:
            self._children[workload.name] = process.start(
                folder.process, fingerprint=fingerprint, command=command, env=env, log=folder.log, listener=listener
            )

    def execute(self, stack: Stack, secrets: Secrets, work: Program, deadline: Deadline) -> None:
        """Run a program in the environment of the workload `server`."""
        workload = stack.workload(SERVER)
        with explained(self._store.folder):
            make_private(self._store.workload(SERVER).temporary)
        try:
            done = subprocess.run(
                [str(self._environment(workload).python), "-c", work.source],
                env=Texts(self._store, stack).variables(workload, secrets),
                input=work.stdin, capture_output=True, text=True, errors="replace", check=False,
                timeout=max(deadline.left, 0.1), cwd=self._store.folder,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotReady("the server's own Python has not ended in time", hint=Remedy.GIVE_TIME) from None
        if done.returncode:
            raise ServerRefused(f"the server's own Python failed: {last_line(done.stderr)}")

    def observe(self) -> Live:
        """Return the state of the processes; for a server on another machine, also how to reach it from here."""
        live = together({folder.name: _observed(folder) for folder in self._store.workloads()})
        log = self._store.workload(SERVER).log
        if live.state == "stopped" and log.exists():
            return dataclasses.replace(live, detail=f"stopped; its log ends at {_moment(log)}")
        return self._other_machine.with_way(live) if live.state == "elsewhere" else live

    def explain(self, live: Live) -> str:
        """Return the detail of the state; for a crashed process, also the reason."""
        folder = self._store.workload(live.workload)
        if live.state != "crashed" or not folder.process.exists():  # without a record: never started
            return live.detail
        lines = list(lines_of(folder.log, _TELLING_LINES, follow=False))
        return f"{live.detail}: {reason(lines, out_of_memory=killed_for_memory(folder.process))}"

    def circumstances(self, stack: Stack, live: Live) -> Circumstances:
        """Return the folders of databases and artifacts, their size on disk, and when the server was started."""
        since = None
        if live.state in ("running", "elsewhere"):
            with contextlib.suppress(FileNotFoundError):  # stopped meanwhile
                since = datetime.fromtimestamp(self._store.workload(SERVER).process.stat().st_mtime, UTC)
        folders = [self._store.volume(volume.name) for volume in stack.volumes]
        if not folders:
            return Circumstances(since=since)
        counts = [used(folder, _COUNTING_SECONDS) for folder in folders]
        size, counted = sum(size for size, _ in counts), all(counted for _, counted in counts)
        return Circumstances(", ".join(map(str, folders)), size, counted, since)

    def stop(self, deadline: Deadline) -> None:
        """End the processes in reverse order of their start.

        Raises:
            Conflict: a process runs, or last ran, on another machine that shares this directory.
        """
        live = self.observe()
        if live.state == "elsewhere":
            self._other_machine.require_gone(live)
        for folder in sorted(self._store.workloads(), key=_started, reverse=True):
            with explained(folder.process):
                if process.observe(folder.process).state == "elsewhere":
                    process.forget(folder.process)
                else:
                    process.stop(folder.process, deadline)
                clear(folder.temporary)  # also removes files of a killed server

    def remains(self) -> tuple[str, ...]:
        """Return a description of the processes, or of the record of a process that has ended."""
        live = self.observe()
        return () if live.state == "stopped" else (live.detail,)

    def remove(self, deadline: Deadline) -> None:
        """End the processes; the store removes their files."""
        self.stop(deadline)

    def wait(self, stack: Stack, deadline: Deadline) -> None:
        """Wait until all workloads answer their probes.

        Raises:
            ServerRefused: the server refused to start with this spec.
            NotReady: a workload has ended, or is not ready by the deadline.
        """
        for workload in stack.start_order:
            self._await(workload, stack, deadline)

    def _await(self, workload: Workload, stack: Stack, deadline: Deadline) -> None:
        state = answers(workload, stack, lambda: not self._alive(workload.name), deadline)
        if state is None:
            return
        name = "the server" if workload.name == SERVER else f"workload {workload.name!r}"
        log = self._store.workload(workload.name).log
        if self._alive(workload.name):
            raise NotReady(f"{name} is not ready in time: {state}{last_words(log)}")
        self._require_room()
        if (live := self.observe()).state == "elsewhere":  # both were started at the same moment
            self._other_machine.require_gone(live)
        refusal = [line for line in lines_of(log, _TELLING_LINES, follow=False) if line.startswith(REFUSAL)]
        if refusal:
            raise ServerRefused(refusal[-1].removeprefix(REFUSAL))
        hint: Hint = Remedy.SEE_LOG
        if workload.name != SERVER:
            hint = Remedy.SEE_LOG_OF_WORKLOAD.of(server=ServerRef(stack.name), workload=workload.name)
        raise NotReady(f"{name} has ended by itself{last_words(log)}", hint=hint)

    def logs(self, workload: str, tail: int, *, follow: bool) -> Iterator[str]:
        """Yield the last `tail` lines of a workload's log; with `follow`, also new lines until interrupted."""
        return lines_of(self._store.workload(workload).log, tail, follow=follow)

    def _alive(self, workload: str) -> bool:
        # a child of this process has no record at first; waitpid also reaps it
        if child := self._children.get(workload):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(child, os.WNOHANG) == (0, 0):
                    return True
                del self._children[workload]
                return False
        return _observed(self._store.workload(workload)).state == "running"

    def _require_room(self) -> None:
        """Check for a full disk, on which the server could not write the reason of its end.

        Raises:
            NoRoom: the disk has less than 1 MiB free.
        """
        disk = os.statvfs(self._store.folder)
        if disk.f_bavail * disk.f_frsize < _ROOM_BYTES:
            raise no_room(self._store.folder)

    def _environment(self, workload: Workload) -> Environment:
        return environment_of(self._state, workload)


def _observed(folder: WorkloadFolder) -> Live:
    with explained(folder.process):
        return process.observe(folder.process)


def _started(folder: WorkloadFolder) -> float:
    """Return when the process was started: the record is written once. 0 if there is no record."""
    try:
        return folder.process.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _moment(path: Path) -> str:
    """Return the time of the file's last change in UTC, for people."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")
