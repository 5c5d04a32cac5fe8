"""The local target: runs a server as a process of this machine in a virtual environment of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from deployer.catalogue import catalogue
from deployer.core.address import LOOPBACK, announced, at_loopback, forwarding, url
from deployer.core.assigned import Assigned
from deployer.core.changes import Change
from deployer.core.components import server
from deployer.core.errors import Conflict, NotReady, ServerRefused, StateError, UsageError, last_line
from deployer.core.last_words import REFUSAL, reason
from deployer.core.outcome import Done, Outcome, Waiting
from deployer.core.platform import LOCAL, Platform
from deployer.core.rendering import Renderer, Unrepresentable
from deployer.core.secrets import Secrets
from deployer.core.spec import Spec
from deployer.core.stack import SERVER, Address, FilePath, Piece, SecretRef, Stack, Text, VolumePath, Workload
from deployer.targets import Circumstances, Deadline, Live, Program, Software, Target
from deployer.targets.local import process
from deployer.targets.local.access import LocalAccess, user_name
from deployer.targets.local.environment import Environment
from deployer.targets.local.locks import hold
from deployer.targets.local.memory import killed_for_memory
from deployer.targets.local.ports import FIRST_PORT, Ports, listen, require_name
from deployer.targets.local.room import DATA_BYTES, ENVIRONMENT_BYTES, Need, require_room, used
from deployer.targets.local.store import LocalStore, explained, no_room, state_directory
from deployer.targets.local.temporary import clear, make_private
from deployer.tracking.client import Client, Unreachable

_LAST_LINES: Final = 8
_TELLING_LINES: Final = 200
_COUNTING_SECONDS: Final = 5.0
_ROOM_BYTES: Final = 1 << 20
_INHERITED: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ",
    "LD_LIBRARY_PATH",  # a Python from an environment module may need it
    "SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


def local_target(
    name: str,
    waiting: Callable[[str], None],
    note: Callable[[str], None] = lambda _: None,
    *,
    take_over: bool = False,
    dry_run: bool = False,
) -> Target:
    """Return the local target for server `name`; `waiting` is called when another deployer holds a lock.

    `note` receives messages about what the machine has assigned to the server. `take_over` is the user's statement that
    the other machine, on which the server is recorded, is gone. With `dry_run`, the state directory is not created.
    """
    state = state_directory(make=not dry_run)
    store = LocalStore(state, name)
    runtime = LocalRuntime(state, store, waiting, note, take_over=take_over)
    return Target(name, "local", "this machine", ("--target", "local"), None, store, runtime, LocalAccess())


class LocalRuntime:
    """Runs the process of one server."""

    def __init__(
        self,
        state: Path,
        store: LocalStore,
        waiting: Callable[[str], None],
        note: Callable[[str], None],
        *,
        take_over: bool = False,
    ) -> None:
        self._state = state
        self._store = store
        self._waiting = waiting
        self._note = note
        self._take_over = take_over
        self._access = LocalAccess()
        self._ports = Ports(state, store.folder.name)
        self._child: int | None = None
        data = catalogue()
        self._renderer = Renderer(data.templates, data.plugins)

    def platform(self, spec: Spec, before: Assigned) -> Platform:
        """Return the platform of this machine."""
        return LOCAL

    def prepared(self, spec: Spec) -> Outcome:
        """Tell whether the environment is complete."""
        version = spec.spec.mlflow.version
        ready = self._environment(spec).ready()
        return Done(f"MLflow {version}") if ready else Waiting(f"MLflow {version} is not installed")

    def prepare(self, spec: Spec, deadline: Deadline) -> None:
        """Create the environment."""
        self._environment(spec).make(deadline, self._waiting)

    def check(self, spec: Spec, before: Assigned) -> None:
        """Raise any error that `prepare` and `assign` would raise for this spec, before anything is stored."""
        live = self.observe()
        if live.state == "elsewhere":
            self._require_gone(live)
        self._environment(spec).require_release()
        host, port = spec.spec.local.host, spec.spec.local.port
        if host:
            require_name(self._announced(spec))
        with explained(self._state):
            require_room(self._room(spec))
        if not self.assigned(spec, before):
            self._ports.require_free(port if port != before.ports.get("http") else None, host)

    def _room(self, spec: Spec) -> list[Need]:
        """Return the disk space needed for the parts that do not exist yet."""
        needs = []
        if not self._environment(spec).ready():
            needs.append(Need(self._state / "environments", ENVIRONMENT_BYTES, f"MLflow {spec.spec.mlflow.version}"))
        if not self._store.data.exists():
            needs.append(Need(self._state / "servers", DATA_BYTES, "the server's data"))
        return needs

    def assigned(self, spec: Spec, before: Assigned) -> bool:
        """Tell whether the server has a port, any requested port, and the requested announced name."""
        kept = before.ports.get("http")
        return kept is not None and spec.spec.local.port in (None, kept) and before.host == self._announced(spec)

    def predict_assignment(self, spec: Spec, before: Assigned) -> Assigned:
        """Return the requested port, else the current one, and the announced name."""
        port = spec.spec.local.port
        named = dataclasses.replace(before, host=self._announced(spec))
        return dataclasses.replace(named, ports={"http": port}) if port else named

    @staticmethod
    def _announced(spec: Spec) -> str | None:
        return announced(spec.spec.local.host, socket.gethostname())

    @contextmanager
    def assign(self, spec: Spec, before: Assigned, deadline: Deadline) -> Iterator[Assigned]:
        """Yield the requested port, else the current one, else the first free port that no other server has.

        No other deployer chooses a port while the context is open: store the port before closing it.
        """
        lock = self._state / "servers" / ".ports.lock"
        with ExitStack() as stack:
            with explained(lock):
                stack.enter_context(hold(lock, "choosing a port", deadline, self._waiting))
            host, wanted, kept = spec.spec.local.host, spec.spec.local.port, before.ports.get("http")
            self._ports.require_free(wanted if wanted != kept else None, host)
            port = wanted or kept or self._ports.choose(host)
            if port != FIRST_PORT and not wanted and not kept:
                self._note(
                    f"Port {FIRST_PORT} is taken by {self._ports.holder_of(FIRST_PORT)}: this server has port {port}, "
                    "and keeps it (--port chooses another)"
                )
            yield dataclasses.replace(before, host=self._announced(spec), ports={"http": port})

    def pending(self, stack: Stack, spec: Spec, live: Live) -> tuple[Change, ...]:
        """Return a single change if the process would be replaced: its settings are known only as a hash."""
        if live.state != "running":
            return (Change("process", live.state, "running"),)
        wanted = self._fingerprint(stack, spec)
        return () if live.fingerprint == wanted else (Change("process settings", live.fingerprint, wanted),)

    def drift(self, stack: Stack, spec: Spec, live: Live) -> tuple[Change, ...]:
        """Return the same as `pending`: nobody else changes a process.

        Raises:
            Conflict: the server runs on another machine.
        """
        if live.state == "elsewhere":
            self._require_gone(live)
        return self.pending(stack, spec, live)

    def _fingerprint(self, stack: Stack, spec: Spec) -> str:
        """Return a hash of command, environment and files, with references instead of secrets."""
        workload = stack.workload(SERVER)

        def shown(piece: Piece) -> str:
            return f"${{{piece.secret}/{piece.key}}}" if isinstance(piece, SecretRef) else self._place(piece, stack)

        parts = [
            str(self._environment(spec).folder),
            [[shown(piece) for piece in text] for text in workload.command],
            {name: [shown(piece) for piece in text] for name, text in workload.env.items()},
            self._files(workload, stack),
            workload.keys,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def apply(self, stack: Stack, spec: Spec, secrets: Secrets, deadline: Deadline) -> None:
        """Stop the running process and start `stack`; return as soon as the new process exists."""
        workload, store = stack.workload(SERVER), self._store
        env = self._variables(workload, secrets, stack)
        python, *arguments = (self._joined(text, secrets, stack) for text in workload.command)
        command = [str(self._environment(spec).folder / "bin" / python), *arguments]
        self.stop(deadline)
        with explained(store.folder):
            for folder in (store.data, store.files):
                folder.mkdir(mode=0o700, exist_ok=True)
            make_private(store.temporary)
            for name, text in self._files(workload, stack).items():
                (store.files / name).write_text(text, "utf-8")
            if store.log.exists():  # one log per run: error messages quote the last lines, which must be of this run
                store.log.replace(store.log.with_suffix(".log.1"))
            with listen(workload.port, spec.spec.local.host or LOOPBACK, store.folder.name) as listener:
                self._child = process.start(
                    store.process,
                    fingerprint=self._fingerprint(stack, spec),
                    command=command,
                    env=env,
                    log=store.log,
                    listener=listener,
                )

    def _joined(self, text: Text, secrets: Secrets, stack: Stack) -> str:
        return "".join(secrets[piece] if isinstance(piece, SecretRef) else self._place(piece, stack) for piece in text)

    def _variables(self, workload: Workload, secrets: Secrets, stack: Stack) -> dict[str, str]:
        """Return the server's environment variables, including secrets."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        own = {name: self._joined(text, secrets, stack) for name, text in workload.env.items()}
        # private: MLflow uses known names in TMPDIR, which other users could otherwise create or replace
        return inherited | own | {"TMPDIR": str(self._store.temporary)}

    def execute(self, stack: Stack, spec: Spec, secrets: Secrets, work: Program, deadline: Deadline) -> None:
        """Run a program in the server's environment."""
        with explained(self._store.folder):
            make_private(self._store.temporary)
        try:
            done = subprocess.run(
                [str(self._environment(spec).python), "-c", work.source],
                env=self._variables(stack.workload(SERVER), secrets, stack),
                input=work.stdin, capture_output=True, text=True, errors="replace", check=False,
                timeout=max(deadline.left, 0.1), cwd=self._store.folder,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise NotReady("the server's own Python has not ended in time", hint="give more with --timeout") from None
        if done.returncode:
            raise ServerRefused(f"the server's own Python failed: {last_line(done.stderr)}")

    def observe(self) -> Live:
        """Return the state of the process; for a server on another machine, also how to reach it from here."""
        with explained(self._store.process):
            live = process.observe(self._store.process)
        if live.state == "stopped" and self._store.log.exists():
            return dataclasses.replace(live, detail=f"stopped; its log ends at {_moment(self._store.log)}")
        record = self._store.load() if live.state == "elsewhere" else None
        if live.host is None or record is None or not record.assigned.ports:
            return live
        host, port = record.assigned.host, record.assigned.ports["http"]
        if at_loopback(host):
            way = f"from here: {forwarding(host, port, live.host, user_name())}"
        else:
            way = f"its address is {url(host, port)}"
        return dataclasses.replace(live, detail=f"{live.detail}; {way}")

    def software(self, spec: Spec) -> Software:
        """Return the hash of the environment's packages."""
        try:
            return Software(packages=self._environment(spec).packages())
        except UsageError:  # the interpreter of the environment is gone
            return Software()

    def explain(self, live: Live) -> str:
        """Return the detail of the state; for a crashed process, also the reason."""
        if live.state != "crashed":
            return live.detail
        lines = list(self.logs(_TELLING_LINES, follow=False))
        return f"{live.detail}: {reason(lines, out_of_memory=killed_for_memory(self._store.process))}"

    def circumstances(self, spec: Spec, live: Live) -> Circumstances:
        """Return the folder of databases and artifacts, its size on disk, and when the process was started."""
        since = None
        if live.state in ("running", "elsewhere"):
            with contextlib.suppress(FileNotFoundError):  # stopped meanwhile
                since = datetime.fromtimestamp(self._store.process.stat().st_mtime, UTC)
        if not server.volumes(spec, LOCAL, Assigned()):
            return Circumstances(since=since)
        size, counted = used(self._store.data, _COUNTING_SECONDS)
        return Circumstances(str(self._store.data), size, counted, since)

    def stop(self, deadline: Deadline) -> None:
        """End the process.

        Raises:
            Conflict: the process runs, or last ran, on another machine that shares this directory.
        """
        live = self.observe()
        if live.state == "elsewhere":
            self._require_gone(live)
        with explained(self._store.process):
            if live.state == "elsewhere":
                process.forget(self._store.process)
            else:
                process.stop(self._store.process, deadline)
            clear(self._store.temporary)  # also removes files of a killed server

    def _require_gone(self, live: Live) -> None:
        """Check that the other machine is gone: the user must say so, and nothing may contradict it.

        Raises:
            Conflict: the server's lock is held, `take_over` is False, or the server answers.
        """
        name, record = self._store.folder.name, self._store.load()
        message, there = f"the server is on another machine: {live.detail}", f"`deployer stop {name}` on {live.host}"
        if live.identity is not None:  # the other machine holds the lock
            raise Conflict(message, hint=f"{there} stops it")
        if not self._take_over:
            raise Conflict(
                message, hint=f"{there} stops it; if that machine is gone for good: `deployer stop {name} --take-over`"
            )
        public = record is not None and record.assigned.ports and not at_loopback(record.assigned.host)
        if record and public and self._access.ready(record.assigned):
            raise Conflict(f"{message}, and answers there", hint=f"{there} stops it")

    def remains(self) -> tuple[str, ...]:
        """Return a description of the process, or of the record of a process that has ended."""
        live = self.observe()
        return () if live.state == "stopped" else (live.detail,)

    def remove(self, deadline: Deadline) -> None:
        """End the process; nothing else was created."""
        self.stop(deadline)

    def wait(self, assigned: Assigned, deadline: Deadline) -> None:
        """Wait until the server reads its databases.

        The port listens before the process starts, so a request waits for the first answer instead of failing.

        Raises:
            ServerRefused: the server refused to start with this spec.
            NotReady: the server has ended, or is not ready by the deadline.
        """
        client = Client(self._access.endpoint(assigned), seconds=2.0)
        try:
            while True:
                try:
                    status, _ = client.status(server.READY_PATH.lstrip("/"))
                    if status == 200:
                        return
                    state = f"{server.READY_PATH} answers {status}"
                except Unreachable:
                    state = "it does not answer yet"
                if not self._alive():
                    self._require_room()
                    if (live := self.observe()).state == "elsewhere":  # both were started at the same moment
                        self._require_gone(live)
                    refusal = [line for line in self.logs(_TELLING_LINES, follow=False) if line.startswith(REFUSAL)]
                    if refusal:
                        raise ServerRefused(refusal[-1].removeprefix(REFUSAL))
                    raise NotReady(f"the server has ended by itself{self._last_words()}", hint="see `deployer logs`")
                if not deadline.left:
                    raise NotReady(f"the server is not ready in time: {state}{self._last_words()}")
                time.sleep(0.05)
        finally:
            client.close()

    def logs(self, tail: int, *, follow: bool) -> Iterator[str]:
        """Yield the last `tail` lines of the log; with `follow`, also new lines until interrupted."""
        try:
            log = self._store.log.open(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return
        with log:
            yield from (line.rstrip("\n") for line in deque(log, maxlen=tail))
            while follow:
                if line := log.readline():
                    yield line.rstrip("\n")
                else:
                    if os.fstat(log.fileno()).st_size < log.tell():  # the server has cut the log (plugin/log_limits.py)
                        log.seek(0, os.SEEK_END)
                    time.sleep(0.2)

    def _alive(self) -> bool:
        # a child of this process has no record at first; waitpid also reaps it
        if self._child is not None:
            with contextlib.suppress(ChildProcessError):
                return os.waitpid(self._child, os.WNOHANG) == (0, 0)
        return self.observe().state == "running"

    def _require_room(self) -> None:
        """Check for a full disk, on which the server could not write the reason of its end.

        Raises:
            NoRoom: the disk has less than 1 MiB free.
        """
        disk = os.statvfs(self._store.folder)
        if disk.f_bavail * disk.f_frsize < _ROOM_BYTES:
            raise no_room(self._store.folder)

    def _last_words(self) -> str:
        return "".join(f"\n  {line}" for line in self.logs(_LAST_LINES, follow=False)) or " without a word in its log"

    def _environment(self, spec: Spec) -> Environment:
        return Environment(self._state, server.package(spec), spec.spec.local.python)

    def _files(self, workload: Workload, stack: Stack) -> dict[str, str]:
        def join(text: Text) -> str:
            return "".join(self._place(piece, stack) for piece in text)

        try:
            return {name: self._renderer.file(file, join) for name, file in workload.files.items()}
        except Unrepresentable as error:
            raise StateError(f"the server's configuration cannot be written: {error}") from error

    def _place(self, piece: Piece, stack: Stack) -> str:
        match piece:
            case VolumePath(_, path):
                return str(self._store.data / path)
            case FilePath(name):
                return str(self._store.files / name)
            case Address(workload):
                return f"{LOOPBACK}:{stack.workload(workload).port}"
            case str():
                return piece
            case SecretRef(secret, key):
                raise Unrepresentable(f"secret {secret}/{key} in a file")


def _moment(path: Path) -> str:
    """Return the time of the file's last change in UTC, for people."""
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).strftime("%Y-%m-%d %H:%M UTC")
