"""Looks up existing servers in their stored records."""

from __future__ import annotations

import shlex

from deployer.core.errors import NotFound
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
        raise NotFound(f"there is no server {target.name!r} here", hint="`deployer list` shows what there is")
    if record.deleted:
        raise NotFound(
            f"server {target.name!r} was deleted; its data and credentials are kept",
            hint=f"`deployer create {target.name}` brings it back",
        )
    return record


def typed(target: Target, command: str, *options: str) -> str:
    """Return a deployer command for this server as the user has to type it."""
    return shlex.join(["deployer", command, target.name, *options, *target.options])


def endpoint_of(target: Target) -> Endpoint:
    """Return the address of an existing server.

    Raises:
        NotFound: the server does not exist, or has no address yet.
    """
    record = require_record(target)
    if not record.assigned.ports:
        raise NotFound(f"server {target.name!r} has no address yet", hint=f"`deployer create {target.name}` goes on")
    return target.access.endpoint(record.assigned)
