"""deployer rotate-password: see deployer/operations/rotate.py."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from deployer.cli.options import Context, Format, Name, Namespace, Output, TargetOption, Timeout
from deployer.cli.plans import DryRun, print_plan
from deployer.cli.progress import step_list
from deployer.core.errors import UsageError


def command(
    name: Name = "mlflow",
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="NAME", help="Name of a member; default: the administrator.", show_default=False
        ),
    ] = None,
    password_file: Annotated[
        str | None,
        typer.Option("--password-file", metavar="FILE", help="File with the new password; default: generate one."),
    ] = None,
    recover: Annotated[
        bool,
        typer.Option("--recover", help="Set a new administrator password directly in the server's database."),
    ] = False,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    dry_run: DryRun = False,
    timeout: Timeout = 120,
    form: Output = Format.text,
) -> None:
    """Give the administrator, or a member, a new password, and prove that the old one is refused."""
    from deployer.cli import output
    from deployer.cli.client import own_command
    from deployer.cli.spec_options import password_from
    from deployer.cli.typed import place_options
    from deployer.cli.where import find_target
    from deployer.operations.plan_rotate import plan_rotation
    from deployer.operations.rotate import rotate
    from deployer.targets import Deadline

    if recover and user is not None:
        raise UsageError(
            "--recover is for the administrator, who can change every member's password without it",
            hint="leave out one of --recover and --user",
        )
    password = password_from(password_file)
    place = find_target(name, target, namespace, context, dry_run=dry_run)
    if dry_run:
        print_plan(place, plan_rotation(place, user, password, Deadline.after(timeout), recover=recover), form)
        return
    with step_list() as progress:
        done = rotate(place, user, password, Deadline.after(timeout), progress, recover=recover)
    if form is Format.json:
        output.print_json(
            {
                "name": name,
                "namespace": place.namespace,
                "address": done.endpoint.url,
                "username": done.username,
                "verified": output.report_document(done.report),
            }
        )
        return
    output.print_report(done.report)
    options = "" if place.capabilities.stored_here else f" {shlex.join(place_options(place.ref))}"
    who = f" --user {shlex.quote(user)}" if user else ""
    print(f"\n{done.username!r} has a new password, and the server was not restarted.\n")
    output.print_fields([("Password", f"{own_command()} show-password {name}{who}{options}")])
    print("\nPrograms with the old password (~/.mlflow/credentials, environment, notebook) need the new one.")
