"""deployer create: see deployer/operations/create.py."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployer.cli.help import CLUSTER
from deployer.cli.options import (
    DEFAULT_TIMEOUT,
    Context,
    DatabaseFile,
    File,
    ForceConflicts,
    Format,
    MakeBucket,
    Namespace,
    OptionalName,
    Output,
    PasswordFile,
    TakeOver,
    TargetKind,
    TargetOption,
    Timeout,
)
from deployer.cli.plans import DryRun, print_plan
from deployer.cli.progress import step_list
from deployer.core.errors import UsageError

if TYPE_CHECKING:
    from deployer.cli.wanted import WantedServer
    from deployer.operations.create import Created
    from deployer.operations.plan import Plan
    from deployer.targets import Target


def command(
    flags: Mapping[str, Any],
    name: OptionalName = None,
    file: File = None,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    password_file: PasswordFile = None,
    database_file: DatabaseFile = None,
    create_project: Annotated[
        bool,
        typer.Option("--create-project", help="Create the OpenShift project that -n names.", rich_help_panel=CLUSTER),
    ] = False,
    csc_project: Annotated[
        str | None,
        typer.Option(
            "--csc-project",
            metavar="NUMBER",
            help="CSC project for the new OpenShift project, such as 2001234.",
            rich_help_panel=CLUSTER,
        ),
    ] = None,
    make_bucket: MakeBucket = False,
    pin_image: Annotated[
        bool | None,
        typer.Option(
            "--pin/--no-pin",
            help="Pin the verified image by digest; --no-pin removes the pin.",
            show_default=False,
            rich_help_panel=CLUSTER,
        ),
    ] = None,
    take_over: TakeOver = False,
    force_conflicts: ForceConflicts = False,
    dry_run: DryRun = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
    form: Output = Format.text,
) -> None:
    """Create or update a server, and verify it. `flags` are by the paths of their fields."""
    from deployer.cli.created import warn_of_plain_http
    from deployer.cli.wanted import wanted_server
    from deployer.cli.where import find_target, project_is_there
    from deployer.operations.create import create
    from deployer.operations.pin import pin, require_pods, unpin
    from deployer.targets import Deadline

    if target is TargetKind.local and (create_project or csc_project is not None):
        raise UsageError(
            "--create-project needs a cluster, and --target local is this machine", hint="leave one of the two out"
        )
    if csc_project is not None and not create_project:
        raise UsageError(f"--csc-project {csc_project} needs --create-project", hint="add it, or leave both out")
    project = _project(namespace, csc_project) if create_project else None

    def place(wanted: str) -> Target:
        found = find_target(
            wanted,
            target,
            namespace,
            context,
            take_over=take_over,
            force_conflicts=force_conflicts,
            introduce=True,
            project=project,
            dry_run=dry_run,
        )
        if pin_image is False and not found.capabilities.pins_images:
            raise UsageError(
                "--no-pin needs a cluster, and this server runs on this machine",
                hint="leave it out, or add --target kubernetes",
            )
        return found

    asked = wanted_server(
        name,
        file,
        flags,
        password_file=password_file,
        database_file=database_file,
        place=place,
        namespace_missing=lambda _: dry_run and project is not None and not project_is_there(namespace, context),
    )
    if take_over and asked.record is None and asked.target.capabilities.stored_here:
        raise UsageError(
            f"--take-over is for a server that exists, and {asked.target.name!r} is a new one", hint="leave it out"
        )
    if pin_image:
        require_pods(asked.target)
    if dry_run:
        print_plan(asked.target, _plan(asked, make_bucket=make_bucket, pin_image=pin_image), form)
        return
    provided = asked.provided_credentials(make_bucket=make_bucket)
    deadline = Deadline.after(timeout)
    with step_list(asked.changes) as progress:
        record = asked.record
        if record and pin_image is False:
            record = unpin(asked.target, record, deadline, progress)
        created = create(asked.target, asked.spec, record, asked.password, deadline, progress, provided)
        if pin_image:
            created = pin(asked.target, created, deadline, progress)
    warn_of_plain_http(asked.target, created)
    _print(asked.target, created, form)


def _plan(asked: WantedServer, *, make_bucket: bool, pin_image: bool | None) -> Plan:
    """Return what the command would do, from reads alone."""
    from deployer.operations.plan import Plan, Planned
    from deployer.operations.plan_create import plan_create, plan_unasked, with_pin, without_pin

    place, spec, record = asked.target, asked.spec, asked.record
    if asked.namespace_missing:
        project = Planned("project", needed=True, state=f"you have no project {place.namespace!r} yet")
        return Plan((project, *plan_unasked(place, spec)), (), ("What the cluster says is known once it is made.",))
    first: tuple[Planned, ...] = ()
    provided, makes_bucket = asked.untried_credentials(make_bucket=make_bucket)
    if makes_bucket:
        first = (Planned("bucket", needed=True, state="the bucket does not exist yet"),)
    if record and pin_image is False:
        record, unpinned = without_pin(record)
        first += unpinned
    plan = plan_create(place, spec, record, asked.password, provided)
    if pin_image:
        plan = with_pin(plan, spec, record)
    return replace(plan, steps=(*first, *plan.steps))


def _project(namespace: str | None, csc_project: str | None) -> str:
    """Return the description of an OpenShift project; on CSC's clusters it must name the CSC project that pays."""
    if namespace is None:
        raise UsageError("--create-project needs the project's name", hint="add -n NAME; names are global")
    if csc_project is None:
        return ""
    number = csc_project.removeprefix("project_")
    if not re.fullmatch(r"[1-9][0-9]{6}", number):
        raise UsageError(
            f"--csc-project {csc_project!r} is not the number of a CSC project", hint="it has 7 digits: 2001234"
        )
    return f"csc_project: {number}"


def _print(place: Target, created: Created, form: Format) -> None:
    from deployer.cli import output
    from deployer.cli.client import client_of, lines_for
    from deployer.cli.created import fields_of
    from deployer.cli.typed import place_options, typed

    spec = created.record.spec
    if form is Format.json:
        output.print_json(
            {
                "name": spec.name,
                "namespace": place.namespace,
                "changed": created.changed,
                "address": created.endpoint.url,
                "username": created.username,
                "mlflowVersion": spec.spec.mlflow.version,
                "verified": output.report_document(created.report),
                "warnings": list(created.report.warnings),
            }
        )
        return
    output.print_report(created.report)
    if created.changed:
        print(f"\nServer {spec.name!r} is running and verified.\n")
    else:
        print(
            f"\nNothing to change: server {spec.name!r} matches its spec and answers. Nothing was written to it: "
            f"`{typed(place.ref, 'verify')}` tries that.\n"
        )
    output.print_fields(fields_of(place, created))
    if place.needs_tunnel(created.record.assigned):
        port, options = created.record.assigned.ports["http"], shlex.join(place_options(place.ref))
        print(
            "\nThis address holds inside the cluster, for the namespace that --ingress-namespace lets in. "
            "From elsewhere, keep a tunnel open and use "
            f"http://localhost:{port}:\n\n  kubectl {options} port-forward svc/{spec.name} {port}"
        )
    lines = lines_for("shell", client_of(place, created.endpoint, created.username))
    print("\nPaste into the shell where your training runs:\n")
    print("\n".join(f"  {line}" for line in lines))
