"""Prints a proven server: its address, its login, and how to reach it from a laptop."""

from __future__ import annotations

import shlex
import socket

from deployer.cli.client import own_command
from deployer.cli.progress import note
from deployer.cli.typed import place_options
from deployer.core.address import at_loopback, forwarding
from deployer.operations.create import Created
from deployer.targets import Target
from deployer.targets.local.access import user_name


def fields_of(place: Target, created: Created) -> list[tuple[str, str]]:
    """Return address, user, the command that prints the password, and the MLflow release."""
    spec = created.record.spec
    options = "" if place.capabilities.stored_here else f" {shlex.join(place_options(place.ref))}"
    return [
        ("Address", created.endpoint.url),
        ("User", created.username),
        ("Password", f"{own_command()} show-password {spec.name}{options}"),
        ("MLflow", spec.spec.mlflow.version),
    ]


def laptop_line(created: Created) -> str:
    """Return the ssh command that forwards a server of this machine to a laptop."""
    assigned = created.record.assigned
    return forwarding(assigned.host, assigned.ports["http"], socket.gethostname(), user_name())


def warn_of_plain_http(place: Target, created: Created) -> None:
    """Warn that a server of this machine listens on a network without encryption."""
    assigned = created.record.assigned
    if place.capabilities.exposes or at_loopback(assigned.host):
        return
    tunnel = forwarding(None, assigned.ports["http"], socket.gethostname(), user_name())
    note(
        f"Warning: {created.endpoint.url} is plain HTTP: everybody who can read that network can read the password and "
        f"the data. Where ssh to this machine works, leave --host out and use: {tunnel}"
    )
