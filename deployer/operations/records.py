"""Servers that exist, as what is stored of them says."""

from __future__ import annotations

import shlex

from deployer.core.errors import NotFound
from deployer.core.record import Record
from deployer.targets import Target
from deployer.tracking.client import Endpoint


def require_record(target: Target) -> Record:
    """Return the record of a server that exists.

    Raises:
        NotFound: there is none, or only its data is left.
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
    """Return a command of deployer's about this very server, as it has to be typed."""
    return shlex.join(["deployer", command, target.name, *options, *target.options])


def endpoint_of(target: Target) -> Endpoint:
    """Return the address of a server that exists."""
    record = require_record(target)
    if not record.assigned.ports:
        raise NotFound(f"server {target.name!r} has no address yet", hint=f"`deployer create {target.name}` goes on")
    return target.access.endpoint(record.assigned)
