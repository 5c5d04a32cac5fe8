"""The local target: a server as a process of this machine, in a virtual environment of its own, at 127.0.0.1."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from deployer.catalogue import catalogue
from deployer.core.assigned import Assigned
from deployer.core.changes import Change
from deployer.core.components import server
from deployer.core.errors import Conflict, NotReady, ServerRefused, StateError
from deployer.core.outcome import Done, Outcome, Waiting
from deployer.core.platform import LOCAL, Platform
from deployer.core.rendering import Renderer, Unrepresentable
from deployer.core.secrets import Secrets
from deployer.core.spec import Spec
from deployer.core.stack import FilePath, SecretRef, Stack, Text, VolumePath, Workload
from deployer.targets import Deadline, Live, Target
from deployer.targets.local import process
from deployer.targets.local.environment import Environment
from deployer.targets.local.locks import hold
from deployer.targets.local.store import LocalStore, explained, no_room, server_names, state_directory
from deployer.tracking.client import Client, Endpoint, Unreachable

FIRST_PORT: Final = 5000
_PORTS_TRIED: Final = 1000
_LAST_LINES: Final = 8
REFUSAL: Final = "deployer: refused to start: "  # as launch.py begins its reason
_ROOM_BYTES: Final = 1 << 20
_INHERITED: Final = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR", "TZ",
    "LD_LIBRARY_PATH",  # a Python from an environment module may need it
    "SSL_CERT_FILE", "SSL_CERT_DIR", "AWS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip


def local_target(name: str, waiting: Callable[[str], None]) -> Target:
    """Return the local target for server `name`; `waiting` is told when another deployer holds something."""
    state = state_directory()
    store = LocalStore(state, name)
    runtime = LocalRuntime(state, store, waiting)
    return Target(name, "local", "this machine", ("--target", "local"), None, store, runtime, LocalAccess())


class LocalAccess:
    """Reaches a server at the loopback."""

    def endpoint(self, assigned: Assigned) -> Endpoint:
        """Return its address."""
        return Endpoint(f"http://127.0.0.1:{assigned.ports['http']}")

    @contextmanager
    def open(self, assigned: Assigned, deadline: Deadline | None = None) -> Iterator[Endpoint]:  # part of the seam
        """Yield its address: clients are on this machine too."""
        yield self.endpoint(assigned)

    def ready(self, assigned: Assigned) -> bool:
        """Tell whether it reads its databases, within a second."""
        client = Client(self.endpoint(assigned), seconds=1.0)
        try:
            return client.status(server.READY_PATH.lstrip("/"))[0] == 200
        except Unreachable:
            return False
        finally:
            client.close()


class LocalRuntime:
    """Runs one server's process."""

    def __init__(self, state: Path, store: LocalStore, waiting: Callable[[str], None]) -> None:
        self._state = state
        self._store = store
        self._waiting = waiting
        self._child: int | None = None
        data = catalogue()
        self._renderer = Renderer(data.templates, data.plugins)

    def platform(self, spec: Spec, before: Assigned) -> Platform:
        """Return what this machine offers."""
        return LOCAL

    def prepared(self, spec: Spec) -> Outcome:
        """Tell whether the environment is there."""
        version = spec.spec.mlflow.version
        ready = self._environment(spec).ready()
        return Done(f"MLflow {version}") if ready else Waiting(f"MLflow {version} is not installed")

    def prepare(self, spec: Spec, deadline: Deadline) -> None:
        """Make the environment."""
        self._environment(spec).make(deadline, self._waiting)

    def check(self, spec: Spec, before: Assigned) -> None:
        """Raise what `prepare` and `assign` would raise of this spec, before anything is stored."""
        self._environment(spec)
        if not self.assigned(spec, before):
            self._require_port(spec.spec.local.port, self._ports_of_others())

    def assigned(self, spec: Spec, before: Assigned) -> bool:
        """Tell whether it has a port, and the one asked for where one was."""
        kept = before.ports.get("http")
        return kept is not None and spec.spec.local.port in (None, kept)

    def would_assign(self, spec: Spec, before: Assigned) -> Assigned:
        """Return the port it has, or the one asked for instead."""
        port = spec.spec.local.port
        return dataclasses.replace(before, ports={"http": port}) if port else before

    @contextmanager
    def assign(self, spec: Spec, before: Assigned, deadline: Deadline) -> Iterator[Assigned]:
        """Yield a port: the one asked for, else the first free one from 5000 that no other server has.

        Nobody else is given one while the context lasts: store it before leaving.
        """
        lock = self._state / "servers" / ".ports.lock"
        with ExitStack() as stack:
            with explained(lock):
                stack.enter_context(hold(lock, "choosing a port", deadline, self._waiting))
            taken = self._ports_of_others()
            wanted = spec.spec.local.port
            self._require_port(wanted, taken)
            yield dataclasses.replace(before, ports={"http": wanted or self._free_port(taken)})

    def pending(self, stack: Stack, spec: Spec, live: Live) -> tuple[Change, ...]:
        """Return what would change: what a process was started from is known as a whole only."""
        if live.state != "running":
            return (Change("process", live.state, "running"),)
        wanted = self._fingerprint(stack, spec)
        return () if live.fingerprint == wanted else (Change("process settings", live.fingerprint, wanted),)

    def drift(self, stack: Stack, spec: Spec, live: Live) -> tuple[Change, ...]:
        """Return the same: nobody else changes a process."""
        return self.pending(stack, spec, live)

    def _fingerprint(self, stack: Stack, spec: Spec) -> str:
        """Return a hash of command, environment and files, with references in the place of secrets."""
        workload = stack.workloads[0]

        def shown(piece: str | SecretRef | VolumePath | FilePath) -> str:
            return f"${{{piece.secret}/{piece.key}}}" if isinstance(piece, SecretRef) else self._place(piece)

        parts = [
            str(self._environment(spec).folder),
            [[shown(piece) for piece in text] for text in workload.command],
            {name: [shown(piece) for piece in text] for name, text in workload.env.items()},
            self._files(workload),
            workload.keys,
        ]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def apply(self, stack: Stack, spec: Spec, secrets: Secrets, deadline: Deadline) -> None:
        """Stop what runs and start `stack`; returns as soon as the process exists."""
        workload, store = stack.workloads[0], self._store

        def join(text: Text) -> str:
            return "".join(secrets[piece] if isinstance(piece, SecretRef) else self._place(piece) for piece in text)

        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        env |= {name: join(text) for name, text in workload.env.items()}
        python, *arguments = (join(text) for text in workload.command)
        command = [str(self._environment(spec).folder / "bin" / python), *arguments]
        self.stop(deadline)
        with explained(store.folder):
            for folder in (store.data, store.files):
                folder.mkdir(mode=0o700, exist_ok=True)
            for name, text in self._files(workload).items():
                (store.files / name).write_text(text, "utf-8")
            if store.log.exists():  # one run, one log: its last words must not be those of an earlier run
                store.log.replace(store.log.with_suffix(".log.1"))
            with process.listen(workload.port) as listener:
                self._child = process.start(
                    store.process,
                    fingerprint=self._fingerprint(stack, spec),
                    command=command,
                    env=env,
                    log=store.log,
                    listener=listener,
                )

    def observe(self) -> Live:
        """Return what runs now."""
        with explained(self._store.process):
            return process.observe(self._store.process)

    def explain(self, live: Live) -> str:
        """Return what the process record says."""
        return live.detail

    def stop(self, deadline: Deadline) -> None:
        """End the process.

        Raises:
            Conflict: it runs on another machine that shares this directory, or did when that went away.
        """
        live = self.observe()
        if live.state == "elsewhere":
            raise Conflict(
                f"the server is not on this machine: {live.detail}",
                hint=f"stop it there; if that machine is gone for good, remove {self._store.process}",
            )
        with explained(self._store.process):
            process.stop(self._store.process, deadline)

    def remains(self) -> tuple[str, ...]:
        """Return the process, if there is one, or the record of one that has ended."""
        live = self.observe()
        return () if live.state == "stopped" else (live.detail,)

    def remove(self, deadline: Deadline) -> None:
        """End the process: nothing else was made."""
        self.stop(deadline)

    def wait(self, assigned: Assigned, deadline: Deadline) -> None:
        """Return when the server reads its databases.

        The port listens since before the process began, so one request simply waits for the first answer.
        """
        client = Client(Endpoint(f"http://127.0.0.1:{assigned.ports['http']}"), seconds=2.0)
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
                    refusal = [line for line in self.logs(200, follow=False) if line.startswith(REFUSAL)]
                    if refusal:
                        raise ServerRefused(
                            refusal[-1].removeprefix(REFUSAL), hint="the old spec brings the server back"
                        )
                    raise NotReady(f"the server has ended by itself{self._last_words()}", hint="see `deployer logs`")
                if not deadline.left:
                    raise NotReady(f"the server is not ready in time: {state}{self._last_words()}")
                time.sleep(0.05)
        finally:
            client.close()

    def logs(self, tail: int, *, follow: bool) -> Iterator[str]:
        """Yield the last `tail` lines of the log; with `follow`, further ones until interrupted."""
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
                    time.sleep(0.2)

    def _alive(self) -> bool:
        # our own child has no record in its first moments; asking for it also keeps it from becoming a zombie
        if self._child is not None:
            with contextlib.suppress(ChildProcessError):
                return os.waitpid(self._child, os.WNOHANG) == (0, 0)
        return self.observe().state == "running"

    def _require_room(self) -> None:
        """Raise StateError where a server could not even have written why it ended."""
        disk = os.statvfs(self._store.folder)
        if disk.f_bavail * disk.f_frsize < _ROOM_BYTES:
            raise no_room(self._store.folder)

    def _last_words(self) -> str:
        return "".join(f"\n  {line}" for line in self.logs(_LAST_LINES, follow=False)) or " without a word in its log"

    def _environment(self, spec: Spec) -> Environment:
        return Environment(self._state, server.package(spec), spec.spec.local.python)

    def _files(self, workload: Workload) -> dict[str, str]:
        def join(text: Text) -> str:
            return "".join(self._place(piece) for piece in text)

        try:
            return {name: self._renderer.file(file, join) for name, file in workload.files.items()}
        except Unrepresentable as error:
            raise StateError(f"the server's configuration cannot be written: {error}") from error

    def _place(self, piece: str | SecretRef | VolumePath | FilePath) -> str:
        match piece:
            case VolumePath(_, path):
                return str(self._store.data / path)
            case FilePath(name):
                return str(self._store.files / name)
            case str():
                return piece
            case SecretRef(secret, key):
                raise Unrepresentable(f"secret {secret}/{key} in a file")

    def _require_port(self, wanted: int | None, taken: Mapping[int | None, str]) -> None:
        if wanted in taken:
            hint = "`deployer create NAME --port NUMBER` chooses another"
            raise Conflict(f"port {wanted} belongs to your server {taken[wanted]}", hint=hint)
        if wanted:
            process.listen(wanted).close()  # fails where it is taken

    def _ports_of_others(self) -> dict[int | None, str]:
        taken: dict[int | None, str] = {}
        for name in server_names(self._state):
            with contextlib.suppress(StateError):  # a damaged record of another server is not this one's trouble
                record = LocalStore(self._state, name).load() if name != self._store.folder.name else None
                taken |= dict.fromkeys(record.assigned.ports.values() if record else (), name)
        return taken

    def _free_port(self, taken: Container[int | None]) -> int:
        for port in range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED):
            if port not in taken:
                try:
                    process.listen(port).close()
                    return port
                except Conflict:
                    continue
        raise Conflict(
            f"no free port from {FIRST_PORT} to {FIRST_PORT + _PORTS_TRIED - 1}", hint="choose one with --port"
        )
