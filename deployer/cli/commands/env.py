"""deployer env: the settings that point MLflow clients at a server, in the syntax of a shell or service."""

from __future__ import annotations

from typing import Annotated

import typer

from deployer.cli.options import Context, Format, Name, Namespace, Output, TargetOption
from deployer.cli.parsing import word
from deployer.cli.progress import note
from deployer.core.clients.job_scripts import ELSEWHERE, FORMS
from deployer.core.errors import any_of


def command(
    name: Name = "mlflow",
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    language: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            parser=word("--format", tuple(FORMS)),
            help=f"Kind of output: {any_of([*FORMS])}.",
        ),
    ] = "shell",
    form: Output = Format.text,
) -> None:
    """Print the settings of MLflow clients, without the password: eval "$(deployer env NAME)"."""
    from deployer.cli import output
    from deployer.cli.client import client_of, lines_for
    from deployer.cli.stopped import warn_if_stopped
    from deployer.cli.where import find_target
    from deployer.operations.away import require_reach
    from deployer.operations.logins import login_of
    from deployer.operations.records import endpoint_of

    place = find_target(name, target, namespace, context, quiet=True)
    endpoint, login = endpoint_of(place), login_of(place)
    require_reach(place)
    client = client_of(place, endpoint, login.username)
    lines = lines_for(language, client)
    if form is Format.json:
        warn_if_stopped(place)
        output.print_json({"address": endpoint.url, "username": login.username, "lines": lines})
        return
    print("\n".join(lines))
    warn_if_stopped(place)
    if client.at_loopback and language in ELSEWHERE:
        note(
            f"{client.url} can be reached only from this machine: a job elsewhere needs a server with a public address"
        )
