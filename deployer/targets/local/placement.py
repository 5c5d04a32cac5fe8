"""Assigns an address of this machine to a server, and checks that the machine can run the server."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deployer.core.address import announced
from deployer.core.remedies import Hint, Remedy
from deployer.core.spec.platform import LOCAL, Platform
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import build
from deployer.core.stack.model import SERVER, Workload
from deployer.targets import Deadline
from deployer.targets.local import process
from deployer.targets.local.installation import environment_of
from deployer.targets.local.locks import hold
from deployer.targets.local.other_machine import OtherMachine
from deployer.targets.local.ports import FIRST_PORT, Ports, require_name
from deployer.targets.local.room import DATA_BYTES, ENVIRONMENT_BYTES, Need, require_room
from deployer.targets.local.runtime import LocalRuntime
from deployer.targets.local.store import LocalStore, explained


class LocalPlacement:
    """The place of one server."""

    def __init__(
        self,
        state: Path,
        store: LocalStore,
        runtime: LocalRuntime,
        other_machine: OtherMachine,
        waiting: Callable[[str], None],
        note: Callable[[str, Hint], None],
    ) -> None:
        self._state = state
        self._store = store
        self._runtime = runtime
        self._other_machine = other_machine
        self._waiting = waiting
        self._note = note
        self._ports = Ports(state, store.folder.name)

    def platform(self, spec: Spec, before: Assigned) -> Platform:
        """Return the platform of this machine."""
        return LOCAL

    def check(self, spec: Spec, before: Assigned) -> None:
        """Raise any error that installation, `assign` or start would raise for this spec, before anything is stored."""
        live = self._runtime.observe()
        if live.state == "elsewhere":
            self._other_machine.require_gone(live)
        workloads = build(spec, LOCAL, self.predict_assignment(spec, before)).workloads
        for workload in workloads:
            environment_of(self._state, workload).require_release()
        host, port = spec.spec.local.host, spec.spec.local.port
        if host:
            require_name(self._announced(spec))
        with explained(self._state):
            require_room(self._room(workloads))
        if not self.assigned(spec, before):
            self._ports.require_free(port if port != before.ports.get("http") else None, host)
        for workload in workloads:
            folder = self._store.workload(workload.name)
            if workload.name != SERVER and process.observe(folder.process).state != "running":
                self._ports.listen_for(workload).close()

    def _room(self, workloads: Sequence[Workload]) -> list[Need]:
        """Return the disk space needed for the parts that do not exist yet."""
        missing = {
            environment.folder: workload.package.title
            for workload in workloads
            if not (environment := environment_of(self._state, workload)).ready()
        }
        needs = [Need(self._state / "environments", ENVIRONMENT_BYTES, title) for title in missing.values()]
        if not self._store.data.exists():
            needs.append(Need(self._state / "servers", DATA_BYTES, "the server's data"))
        return needs

    def assigned(self, spec: Spec, before: Assigned) -> bool:
        """Tell whether the server has a port, any requested port, and the requested announced name."""
        kept = before.ports.get("http")
        return kept is not None and spec.spec.local.port in (None, kept) and before.host == self._announced(spec)

    def predict_assignment(self, spec: Spec, before: Assigned) -> Assigned:
        """Return the announced name and a port: the requested one, else the current one, else the first one to try."""
        port = spec.spec.local.port or before.ports.get("http", FIRST_PORT)
        return dataclasses.replace(before, host=self._announced(spec), ports={"http": port})

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
                    "and keeps it",
                    Remedy.NAME_OTHER_PORT,
                )
            yield dataclasses.replace(before, host=self._announced(spec), ports={"http": port})
