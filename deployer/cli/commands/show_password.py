"""deployer show-password: prints only the password, for people and for `$(...)`."""

from __future__ import annotations

from typing import Annotated

import typer

from deployer.cli.options import Context, Name, Namespace, TargetOption
from deployer.cli.progress import note


def command(
    name: Name = "mlflow",
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="NAME", help="Name of a member; default: the administrator.", show_default=False
        ),
    ] = None,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Print the administrator's password, or a member's that deployer made, and nothing else."""
    from deployer.cli.typed import typed
    from deployer.cli.where import find_target, require_user
    from deployer.operations.away import out_of_reach
    from deployer.operations.logins import interrupted, login_of

    require_user(user)
    place = find_target(name, target, namespace, context, quiet=True)
    password = login_of(place, user).password
    if interrupted(place, user):
        ends = typed(place.ref, "rotate-password", *(["--user", user] if user else []))
        note(f"A change of this password was interrupted: `{ends}` ends it.")
    print(password)
    if live := out_of_reach(place):
        note(f"Server {name!r} is on another machine: {live.detail}")
