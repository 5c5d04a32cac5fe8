"""TCP ports of this machine: chooses a server's port, and opens the socket that reserves it."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path
from typing import Final

from deployer.core.address import LOOPBACK, at_loopback, everywhere
from deployer.core.errors import Conflict, StateError, UsageError
from deployer.core.remedies import Remedy
from deployer.core.stack.model import SERVER, Workload
from deployer.targets.local.listeners import listener_at
from deployer.targets.local.store import LocalStore, server_names

FIRST_PORT: Final = 5000
_PORTS_TRIED: Final = 1000


class Ports:
    """The ports that one server may use."""

    def __init__(self, state: Path, name: str) -> None:
        self._state = state
        self._name = name

    def require_free(self, wanted: int | None, host: str | None) -> None:
        """Check that the server can listen at port `wanted` of `host`; None means any port.

        Raises:
            Conflict: the port is taken, or belongs to another server of this user.
            UsageError: `host` is not this machine.
        """
        taken = self._of_others()
        if wanted in taken:
            hint = Remedy.CHOOSE_PORT.of(name=self._name)
            raise Conflict(f"port {wanted} belongs to your server {taken[wanted]}", hint=hint)
        if wanted or host:
            listen(wanted or 0, host or LOOPBACK, self._name).close()  # fails if the port is taken

    def choose(self, host: str | None) -> int:
        """Return the first free port from 5000 that belongs to no other server of this user.

        Raises:
            Conflict: no such port is free.
        """
        taken = self._of_others()
        for port in range(FIRST_PORT, FIRST_PORT + _PORTS_TRIED):
            if port not in taken:
                try:
                    listen(port, host or LOOPBACK).close()
                    return port
                except Conflict:
                    continue
        raise Conflict(f"no free port from {FIRST_PORT} to {FIRST_PORT + _PORTS_TRIED - 1}", hint=Remedy.NAME_PORT)

    def listen_for(self, workload: Workload) -> socket.socket:
        """Return the socket of a workload. Only the port of the workload `server` can be chosen.

        Raises:
            Conflict: the port is taken.
            UsageError: the workload's host is not this machine.
        """
        host = workload.listen or LOOPBACK
        try:
            return listen(workload.port, host, self._name)
        except Conflict as error:
            if workload.name == SERVER:
                raise
            raise Conflict(
                f"workload {workload.name!r} of server {self._name!r} needs port {workload.port} of {host}, "
                f"and {self.holder_of(workload.port)} has it",
                hint="end that program, then type the same command again",
            ) from error

    def holder_of(self, port: int) -> str:
        """Return who holds a port that this server could not get."""
        owner = self._of_others().get(port)
        return f"your server {owner!r}" if owner else listener_at(port)

    def _of_others(self) -> dict[int | None, str]:
        taken: dict[int | None, str] = {}
        for name in server_names(self._state):
            with contextlib.suppress(StateError):  # the record of another server may be damaged
                record = LocalStore(self._state, name).load() if name != self._name else None
                taken |= dict.fromkeys(record.assigned.ports.values() if record else (), name)
        return taken


def require_name(host: str | None) -> None:
    """Check that clients can resolve the announced host name.

    Raises:
        UsageError: the name has no address.
    """
    if host is not None:
        _resolved(host, 0)


def listen(port: int, host: str, name: str = "NAME") -> socket.socket:
    """Return a socket that listens at `host`, a name or an address; the socket reserves the port.

    `name` is the server's name, for the hint.

    Raises:
        Conflict: the port is taken.
        UsageError: `host` is not this machine.
    """
    family, address = _resolved(host, port)
    if address[0] != host and host != "localhost" and at_loopback(address[0]):
        raise _not_here(host, f"the name means {address[0]} on this machine, where nobody else can connect")
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # `::` means all IPv6 and IPv4 addresses
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not everywhere(host))
        listener.bind(address)
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRNOTAVAIL:
            raise _not_here(host, f"{address[0]} is no address of this machine") from error
        raise Conflict(
            f"port {port} of {host} cannot be used: {error.strerror}",
            hint=Remedy.CHOOSE_PORT.of(name=name),
        ) from error
    return listener


def _resolved(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    """Return the address to bind: the first IPv4 address, because every client has IPv4, else the first address."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise _not_here(host, f"it has no address ({getattr(error, 'strerror', None) or error})") from error
    family, _, _, _, address = sorted(found, key=lambda item: item[0] != socket.AF_INET)[0]
    return family, (str(address[0]), port)


def _not_here(host: str, why: str) -> UsageError:
    return UsageError(
        f"a server cannot listen at {host}: {why}",
        hint=Remedy.NAME_THIS_MACHINE,
    )
