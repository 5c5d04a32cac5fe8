"""Commands as users type them."""

from __future__ import annotations

import shlex

from deployer.core.remedies import ServerRef


def place_options(server: ServerRef) -> tuple[str, ...]:
    """Return the options that select the place of a server."""
    if server.namespace is None:
        return ("--target", "local")
    return ("--namespace", server.namespace, *(("--context", server.context) if server.context else ()))


def typed(server: ServerRef, command: str, *options: str) -> str:
    """Return a deployer command for a server."""
    return shlex.join(["deployer", command, server.name, *options, *place_options(server)])
