"""Looks up existing servers in their stored records."""

from __future__ import annotations

from deployer.core.errors import NotFound
from deployer.core.remedies import Remedy
from deployer.core.stack.record import Record
from deployer.targets import Target
from deployer.tracking.client import Endpoint


def require_record(target: Target) -> Record:
    """Return the record of an existing server.

    Raises:
        NotFound: there is no record, or the server was deleted and only its data is left.
    """
    record = target.store.load()
    if record is None:
        raise NotFound(f"there is no server {target.name!r} here", hint=Remedy.LIST_SERVERS)
    if record.deleted:
        raise NotFound(
            f"server {target.name!r} was deleted; its data and credentials are kept",
            hint=Remedy.BRING_BACK.of(name=target.name),
        )
    return record


def endpoint_of(target: Target) -> Endpoint:
    """Return the address of an existing server.

    Raises:
        NotFound: the server does not exist, or has no address yet.
    """
    record = require_record(target)
    if not record.assigned.ports:
        raise NotFound(f"server {target.name!r} has no address yet", hint=Remedy.GO_ON.of(name=target.name))
    return target.access.endpoint(record.assigned)
