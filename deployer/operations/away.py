"""A server of this user that runs on another machine: both share the directory in which it is on record."""

from __future__ import annotations

from deployer.core.address import at_loopback
from deployer.core.errors import Conflict
from deployer.targets import Live, Target


def away(target: Target) -> Live | None:
    """Return what is known of a server on another machine; None where it is here, or on a cluster."""
    if target.kind != "local":
        return None
    live = target.runtime.observe()
    return live if live.state == "elsewhere" else None


def out_of_reach(target: Target) -> Live | None:
    """Return what is known of a server whose address means, on this machine, another server or nobody."""
    live = away(target)
    record = target.store.load() if live else None
    return live if record and at_loopback(record.assigned.host) else None


def require_reach(target: Target) -> None:
    """Raise Conflict where clients here would send the password to whoever has that port on this machine."""
    if live := out_of_reach(target):
        raise Conflict(
            f"server {target.name!r} listens at the loopback of another machine: {live.detail}",
            hint="keep that tunnel open and set MLFLOW_TRACKING_URI yourself, or have it listen on the network: "
            f'`deployer create {target.name} --host "$(hostname -f)"` on {live.host}',
        )
