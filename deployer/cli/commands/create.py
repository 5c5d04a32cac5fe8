"""deployer create: see deployer/operations/create.py."""

from __future__ import annotations

import re
import shlex
from typing import Annotated

import typer

from deployer.cli import output
from deployer.cli.client import client_of, lines_for
from deployer.cli.created import fields_of, warn_of_plain_http
from deployer.cli.options import (
    DEFAULT_TIMEOUT,
    Bucket,
    Context,
    DatabaseFile,
    DefaultPermission,
    File,
    Format,
    MakeBucket,
    MlflowVersion,
    Namespace,
    OptionalName,
    Output,
    PasswordFile,
    Port,
    Python,
    S3Endpoint,
    S3Prefix,
    S3Region,
    TakeOver,
    TargetKind,
    TargetOption,
    Timeout,
    Transfer,
    Username,
    Workers,
)
from deployer.cli.progress import step_list
from deployer.cli.wanted import own_flags, wanted_server
from deployer.cli.where import find_target
from deployer.core.errors import UsageError
from deployer.core.platform import PROFILES
from deployer.operations.create import Created, create
from deployer.operations.pin import pin, require_pods, unpin
from deployer.operations.records import typed
from deployer.targets import Deadline, Target


def command(
    name: OptionalName = None,
    file: File = None,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    port: Port = None,
    python: Python = None,
    mlflow_version: MlflowVersion = None,
    workers: Workers = None,
    username: Username = None,
    password_file: PasswordFile = None,
    default_permission: DefaultPermission = None,
    database_file: DatabaseFile = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="PROFILE", help=f"Kind of cluster: {', '.join(PROFILES)}.")
    ] = None,
    expose: Annotated[
        str | None, typer.Option("--expose", metavar="KIND", help="ingress, gateway, route or none.")
    ] = None,
    host: Annotated[
        str | None,
        typer.Option("--host", metavar="HOST", help="Public host name; on this machine: name or address to listen at."),
    ] = None,
    ingress_class: Annotated[
        str | None, typer.Option("--ingress-class", metavar="CLASS", help="Class of the Ingress.")
    ] = None,
    tls_secret: Annotated[
        str | None, typer.Option("--tls-secret", metavar="SECRET", help="Secret with the host's certificate.")
    ] = None,
    allow_from: Annotated[
        list[str] | None,
        typer.Option("--allow-from", metavar="NETWORK", help="Network that may connect; again, or commas, for more."),
    ] = None,
    allow_everyone: Annotated[
        bool, typer.Option("--allow-everyone", help="Consent to everybody: as --allow-from, or instead of it.")
    ] = False,
    gateway: Annotated[
        str | None, typer.Option("--gateway", metavar="NAMESPACE/NAME", help="NAMESPACE/NAME of the Gateway.")
    ] = None,
    ingress_namespace: Annotated[
        str | None,
        typer.Option(
            "--ingress-namespace", metavar="NAMESPACE", help="Namespace that traffic from outside comes through."
        ),
    ] = None,
    volume_size: Annotated[
        str | None, typer.Option("--volume-size", metavar="SIZE", help="Size of the volume, such as 10Gi.")
    ] = None,
    storage_class: Annotated[
        str | None, typer.Option("--storage-class", metavar="CLASS", help="Storage class of the volume.")
    ] = None,
    create_project: Annotated[
        bool, typer.Option("--create-project", help="Make the OpenShift project that -n names.")
    ] = False,
    csc_project: Annotated[
        str | None,
        typer.Option("--csc-project", metavar="NUMBER", help="CSC project that pays for it, such as 2001234."),
    ] = None,
    bucket: Bucket = None,
    s3_endpoint: S3Endpoint = None,
    s3_region: S3Region = None,
    s3_prefix: S3Prefix = None,
    transfer: Transfer = None,
    make_bucket: MakeBucket = False,
    pin_image: Annotated[
        bool | None,
        typer.Option(
            "--pin/--no-pin", help="Run the image that was proven by its digest from now on.", show_default=False
        ),
    ] = None,
    take_over: TakeOver = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
    form: Output = Format.text,
) -> None:
    """Create a server, or bring one up to date, and prove it."""
    flags = {
        **own_flags(
            port=port, python=python, mlflow_version=mlflow_version, workers=workers, username=username,
            default_permission=default_permission, bucket=bucket, s3_endpoint=s3_endpoint, s3_region=s3_region,
            s3_prefix=s3_prefix, transfer=transfer,
        ),
        "spec.profile": profile,
        "spec.exposure.type": expose,
        "spec.exposure.ingressClass": ingress_class,
        "spec.exposure.tlsSecret": tls_secret,
        "spec.exposure.gateway": gateway,
        "spec.exposure.allowFrom": [item for text in allow_from for item in text.split(",")] if allow_from else None,
        "spec.exposure.allowEveryone": allow_everyone or None,
        "spec.networkPolicy.ingressNamespace": ingress_namespace,
        "spec.volume.size": volume_size,
        "spec.volume.storageClass": storage_class,
    }  # fmt: skip
    if target is TargetKind.local and (create_project or csc_project is not None):
        raise UsageError(
            "--create-project needs a cluster, and --target local is this machine", hint="leave one of the two out"
        )
    if csc_project is not None and not create_project:
        raise UsageError(f"--csc-project {csc_project} needs --create-project", hint="add it, or leave both out")
    project = _project(namespace, csc_project) if create_project else None

    def place(wanted: str) -> Target:
        found = find_target(wanted, target, namespace, context, take_over=take_over, introduce=True, project=project)
        if pin_image is False and not found.capabilities.pins_images:
            raise UsageError(
                "--no-pin needs a cluster, and this server runs on this machine",
                hint="leave it out, or add --target kubernetes",
            )
        return found

    asked = wanted_server(
        name, file, flags, host=host, password_file=password_file, database_file=database_file, place=place
    )
    if take_over and asked.record is None and asked.target.capabilities.stored_here:
        raise UsageError(
            f"--take-over is for a server that exists, and {asked.target.name!r} is a new one", hint="leave it out"
        )
    if pin_image:
        require_pods(asked.target)
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


def _project(namespace: str | None, csc_project: str | None) -> str:
    """Return the description of an OpenShift project; on CSC's clusters it must name the CSC project that pays."""
    if namespace is None:
        raise UsageError("--create-project needs the project's name", hint="add -n NAME; names are global")
    if csc_project is None:
        return ""
    number = csc_project.removeprefix("project_")
    if not re.fullmatch(r"[1-9][0-9]{6}", number):
        raise UsageError(
            f"--csc-project {csc_project!r} is no number of a CSC project", hint="it has 7 digits: 2001234"
        )
    return f"csc_project: {number}"


def _print(place: Target, created: Created, form: Format) -> None:
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
            f"\nNothing to change: server {spec.name!r} runs as asked for and answers. Nothing was written to it: "
            f"`{typed(place, 'verify')}` tries that.\n"
        )
    output.print_fields(fields_of(place, created))
    if place.needs_tunnel(created.record.assigned):
        port = created.record.assigned.ports["http"]
        print(
            "\nThis address holds inside the cluster, for the namespace that --ingress-namespace lets in. "
            "From elsewhere, keep a tunnel open and use "
            f"http://localhost:{port}:\n\n  kubectl {shlex.join(place.options)} port-forward svc/{spec.name} {port}"
        )
    lines = lines_for("shell", client_of(place, created.endpoint, created.username))
    print("\nPaste into the shell where your training runs:\n")
    print("\n".join(f"  {line}" for line in lines))
