"""Says that a server does not run, where its address is printed: clients retry for minutes before they fail."""

from __future__ import annotations

from contextlib import suppress

from deployer.cli.progress import note
from deployer.core.errors import DeployerError
from deployer.operations.records import typed
from deployer.targets import Target


def warn_if_stopped(place: Target) -> None:
    """Warn that nobody answers at the address yet, and name the command that starts the server."""
    with suppress(DeployerError):  # a user who may read the login need not be allowed to look at what runs
        live = place.runtime.observe()
        if live.state not in ("running", "elsewhere"):
            note(f"Warning: server {place.name!r} does not run ({live.detail}); `{typed(place, 'start')}` starts it")
