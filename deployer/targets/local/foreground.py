"""Follows a server of this machine: passes on its log, and detects its end at once."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import SEEK_END
from typing import Final, TextIO

from deployer.core.errors import Conflict
from deployer.core.remedies import Remedy
from deployer.core.stack.model import SERVER
from deployer.targets import Deadline
from deployer.targets.local import process
from deployer.targets.local.locks import hold
from deployer.targets.local.store import LocalStore, explained, state_directory

_LOG_MILLISECONDS: Final = 250
# Slurm and systemd signal all processes at once: the server may end just before this process gets its signal
_SIGNAL_MILLISECONDS: Final = 1000


class LocalForeground:
    """Follows one server."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._state = state_directory()
        self._store = LocalStore(self._state, name)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Make this the only foreground command of the server.

        Raises:
            Conflict: another process has the server in the foreground.
        """
        path = self._state / "servers" / f".{self._name}.run.lock"
        with ExitStack() as stack:
            try:
                with explained(path):
                    stack.enter_context(hold(path, "run", Deadline.after(0), lambda _: None))
            except Conflict as conflict:
                raise Conflict(
                    f"server {self._name!r} is in the foreground already: {conflict.message}",
                    hint=Remedy.STOP_BOTH.of(name=self._name),
                ) from None
            yield

    def stay(self, wake: int, line: Callable[[str], None], *, whole: bool) -> bool:
        """Pass on the output of the server until one of its workloads ends (False) or `wake` is readable (True)."""
        with ExitStack() as stack:
            poll = select.poll()
            poll.register(wake, select.POLLIN)
            for folder in self._store.workloads():
                watched = process.watch(folder.process)
                if watched is None:
                    return _readable(wake, _SIGNAL_MILLISECONDS)
                stack.callback(os.close, watched)
                poll.register(watched, select.POLLIN)
            log = stack.enter_context(self._store.workload(SERVER).log.open(encoding="utf-8", errors="replace"))
            if not whole:
                log.seek(0, SEEK_END)
            ready: list[tuple[int, int]] = []
            while not ready:
                ready = poll.poll(_LOG_MILLISECONDS)
                _hand_on(log, line)
        return _readable(wake, _SIGNAL_MILLISECONDS)


def _hand_on(log: TextIO, line: Callable[[str], None]) -> None:
    while text := log.readline():
        line(text.rstrip("\n"))
    if os.fstat(log.fileno()).st_size < log.tell():  # the server has cut the log (plugin/serving/log_limits.py)
        log.seek(0, SEEK_END)


def _readable(descriptor: int, milliseconds: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(milliseconds))
