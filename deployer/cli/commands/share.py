"""deployer share: prints a text for a colleague on standard output, and notes for the sender on standard error."""

from __future__ import annotations

import shlex
import socket
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployer.cli.options import Context, Format, Name, Namespace, Output, TargetOption, Timeout
from deployer.cli.progress import note
from deployer.core.clients.snippets import Client
from deployer.core.errors import Conflict, NotFound, NotReady

if TYPE_CHECKING:
    from deployer.core.clients.invitation import Way
    from deployer.targets import Target


def command(
    name: Name = "mlflow",
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="NAME", help="User name of the colleague; the account must exist.", show_default=False
        ),
    ] = None,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    timeout: Timeout = 60,
    form: Output = Format.text,
) -> None:
    """Print what a colleague needs to start with a server; the password is not in it."""
    from deployer.cli import output
    from deployer.cli.client import client_of
    from deployer.cli.stopped import warn_if_stopped
    from deployer.cli.typed import typed
    from deployer.cli.where import find_target, require_user
    from deployer.core.clients.invitation import invitation
    from deployer.operations.login import reachable
    from deployer.operations.logins import login_of, recovery
    from deployer.operations.records import endpoint_of
    from deployer.targets import Deadline
    from deployer.tracking.client import Unreachable
    from deployer.tracking.login import Unauthenticated, exists

    require_user(user)
    place = find_target(name, target, namespace, context, quiet=True)
    endpoint, admin = endpoint_of(place), login_of(place)
    if user is not None:
        try:
            with reachable(place, Deadline.after(timeout)) as near:
                known = exists(near, admin, user)
        except Unreachable as error:
            raise NotReady(str(error), hint=f"`{typed(place.ref, 'status')}` tells whether it runs") from None
        except Unauthenticated:
            raise Conflict(
                f"the server does not accept the stored password of {admin.username!r}", hint=recovery(place)
            ) from None
        if not known:
            raise NotFound(
                f"server {name!r} knows no user {user!r}",
                hint=f"as {admin.username!r}, create the account on the page {endpoint.url}/signup, or in Python: "
                "mlflow.server.get_app_client('basic-auth', ADDRESS).create_user(USER, PASSWORD)",
            )
    client = client_of(place, endpoint, user or admin.username)
    lines = invitation(client, _way(place))
    for text in _to_the_sender(place, client, user):
        note(text)
    warn_if_stopped(place)
    if form is Format.json:
        output.print_json({"address": endpoint.url, "username": client.username, "text": "\n".join(lines)})
    else:
        print("\n".join(lines))


def _way(place: Target) -> Way:
    from deployer.core.clients.invitation import Way
    from deployer.operations.away import away
    from deployer.operations.records import require_record

    record = require_record(place)
    exposure: Any = record.spec.spec.exposure
    networks = getattr(exposure, "allow_from", None) or ()
    live = away(place)
    return Way(
        tuple(map(str, networks)),
        machine=(live and live.host) or socket.gethostname(),
        namespace=(place.namespace or "") if place.needs_tunnel(record.assigned) else "",
        port=record.assigned.ports.get("http", 0),
    )


def _to_the_sender(place: Target, client: Client, user: str | None) -> list[str]:
    from deployer.cli.client import own_command
    from deployer.cli.typed import place_options

    options = shlex.join([*place_options(place.ref), *(["--user", user] if user else [])])
    notes = [
        "The text below holds no password. Hand that over another way (in person, a messenger, a password manager):",
        f"  {own_command()} show-password {place.name} {options}",
    ]
    if client.ca_file:
        notes.append(f"Send this file along, it is not secret: {client.ca_file}")
    if user is None:
        notes.append(
            f"Warning: this is the administrator's account {client.username!r}, which may see, change and delete "
            "everything. Give each person one of their own, and add --user NAME."
        )
    return [*notes, ""]
