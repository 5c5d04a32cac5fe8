"""Warns about a stopped server when its address is printed, because clients retry for minutes before they fail."""

from __future__ import annotations

from contextlib import suppress

from deployer.cli.progress import note
from deployer.cli.typed import typed
from deployer.core.errors import DeployerError
from deployer.targets import Target


def warn_if_stopped(place: Target) -> None:
    """Warn that the server does not run, and name the command that starts it."""
    with suppress(DeployerError):  # a user may be allowed to read the login but not the workloads
        live = place.runtime.observe()
        if live.state not in ("running", "elsewhere"):
            note(
                f"Warning: server {place.name!r} does not run ({live.detail}); `{typed(place.ref, 'start')}` starts it"
            )
