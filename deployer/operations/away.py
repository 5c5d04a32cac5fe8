"""Servers of this user that run on another machine; both machines share the directory with the server's record."""

from __future__ import annotations

from deployer.core.address import at_loopback
from deployer.core.errors import Conflict
from deployer.core.remedies import Remedy
from deployer.targets import Live, Target


def away(target: Target) -> Live | None:
    """Return the state of a server that runs on another machine; None for other servers and on a cluster."""
    if not target.capabilities.shared_by_machines:
        return None
    live = target.runtime.observe()
    return live if live.state == "elsewhere" else None


def out_of_reach(target: Target) -> Live | None:
    """Return the state of a server that listens only at the loopback address of another machine, else None.

    On this machine, that address leads to another server or to nothing.
    """
    live = away(target)
    record = target.store.load() if live else None
    return live if record and at_loopback(record.assigned.host) else None


def require_reach(target: Target) -> None:
    """Check that clients on this machine can reach the server.

    Raises:
        Conflict: the server listens at the loopback address of another machine. Clients here would send the password to
            whatever listens at that port on this machine.
    """
    if live := out_of_reach(target):
        raise Conflict(
            f"server {target.name!r} listens at the loopback of another machine: {live.detail}",
            hint=Remedy.LISTEN_ON_NETWORK.of(name=target.name, host=live.host),
        )
