"""deployer create: see deployer/operations/create.py."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from deployer.cli import output
from deployer.cli.options import DEFAULT_TIMEOUT, Context, Format, Namespace, Output, TakeOver, TargetOption, Timeout
from deployer.cli.progress import note, step_list
from deployer.cli.spec_options import password_from, read_limited, spec_from
from deployer.cli.where import find_target
from deployer.core.assigned import Assigned
from deployer.core.changes import spec_changes
from deployer.core.errors import UsageError
from deployer.core.platform import PROFILES
from deployer.core.spec import Spec
from deployer.core.support import require_supported
from deployer.operations.artifacts import s3_keys
from deployer.operations.create import Created, create
from deployer.targets import Deadline, Target


def command(
    name: Annotated[
        str | None, typer.Argument(help="Name of the server; mlflow by default.", show_default=False)
    ] = None,
    file: Annotated[str | None, typer.Option("--file", "-f", help="Spec file, - for standard input.")] = None,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    port: Annotated[int | None, typer.Option("--port", help="TCP port on this machine.")] = None,
    python: Annotated[str | None, typer.Option("--python", help="Interpreter for the server's environment.")] = None,
    mlflow_version: Annotated[str | None, typer.Option("--mlflow-version", help="MLflow release.")] = None,
    username: Annotated[str | None, typer.Option("--username", help="The administrator's user name.")] = None,
    password_file: Annotated[
        str | None, typer.Option("--password-file", help="File with the administrator's password; made if not given.")
    ] = None,
    default_permission: Annotated[
        str | None, typer.Option("--default-permission", help="NO_PERMISSIONS, READ, EDIT or MANAGE.")
    ] = None,
    profile: Annotated[str | None, typer.Option("--profile", help=f"Kind of cluster: {', '.join(PROFILES)}.")] = None,
    expose: Annotated[str | None, typer.Option("--expose", help="ingress, gateway, route or none.")] = None,
    host: Annotated[str | None, typer.Option("--host", help="Public host name.")] = None,
    ingress_class: Annotated[str | None, typer.Option("--ingress-class", help="Class of the Ingress.")] = None,
    tls_secret: Annotated[str | None, typer.Option("--tls-secret", help="Secret with the host's certificate.")] = None,
    allow_from: Annotated[
        list[str] | None, typer.Option("--allow-from", help="Network that may connect; again, or commas, for more.")
    ] = None,
    allow_everyone: Annotated[
        bool, typer.Option("--allow-everyone", help="Consent to everybody: as --allow-from, or instead of it.")
    ] = False,
    gateway: Annotated[str | None, typer.Option("--gateway", help="NAMESPACE/NAME of the Gateway.")] = None,
    ingress_namespace: Annotated[
        str | None, typer.Option("--ingress-namespace", help="Namespace that traffic from outside comes through.")
    ] = None,
    volume_size: Annotated[str | None, typer.Option("--volume-size", help="Size of the volume, such as 10Gi.")] = None,
    storage_class: Annotated[str | None, typer.Option("--storage-class", help="Storage class of the volume.")] = None,
    create_project: Annotated[
        bool, typer.Option("--create-project", help="Make the OpenShift project that -n names.")
    ] = False,
    csc_project: Annotated[
        str | None, typer.Option("--csc-project", help="CSC project that pays for it, such as 2001234.")
    ] = None,
    bucket: Annotated[str | None, typer.Option("--bucket", help="S3 bucket for the artifacts.")] = None,
    s3_endpoint: Annotated[
        str | None, typer.Option("--s3-endpoint", help="URL of the S3 service; Allas if not given.")
    ] = None,
    s3_region: Annotated[str | None, typer.Option("--s3-region", help="Its region, where it wants one.")] = None,
    s3_prefix: Annotated[str | None, typer.Option("--s3-prefix", help="Path inside the bucket.")] = None,
    transfer: Annotated[
        str | None, typer.Option("--transfer", help="proxied (through the server) or direct (client to S3).")
    ] = None,
    make_bucket: Annotated[bool, typer.Option("--make-bucket", help="Make the bucket if it is not there.")] = False,
    take_over: TakeOver = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
    form: Output = Format.text,
) -> None:
    """Create a server, or bring one up to date, and prove it."""
    if file == "-" and password_file == "-":  # standard input
        raise UsageError("the spec and the password cannot both come from standard input", hint="put one into a file")
    flags: dict[str, Any] = {
        "spec.local.port": port,
        "spec.local.python": _absolute(python),
        "spec.mlflow.version": mlflow_version,
        "spec.auth.adminUsername": username,
        "spec.auth.defaultPermission": default_permission,
        "spec.profile": profile,
        "spec.exposure.type": _exposure(expose, gateway=gateway, ingress=ingress_class or tls_secret, route=allow_from),
        "spec.exposure.host": host,
        "spec.exposure.ingressClass": ingress_class,
        "spec.exposure.tlsSecret": tls_secret,
        "spec.exposure.gateway": gateway,
        "spec.exposure.allowFrom": [item for text in allow_from for item in text.split(",")] if allow_from else None,
        "spec.exposure.allowEveryone": allow_everyone or None,
        "spec.networkPolicy.ingressNamespace": ingress_namespace,
        "spec.artifacts.type": "s3" if bucket else None,
        "spec.artifacts.bucket": bucket,
        "spec.artifacts.endpoint": s3_endpoint,
        "spec.artifacts.region": s3_region,
        "spec.artifacts.prefix": s3_prefix,
        "spec.artifacts.transfer": transfer,
        "spec.volume.size": volume_size,
        "spec.volume.storageClass": storage_class,
    }
    password = password_from(password_file)
    content = read_limited(file, "a spec file") if file else None
    wanted_name = "mlflow" if name is None else name
    if file:
        wanted_name = spec_from(name, file, {}, None, content=content)[0].name
    project = _project(namespace, csc_project) if create_project or csc_project else None
    place = find_target(wanted_name, target, namespace, context, take_over=take_over, introduce=True, project=project)
    if place.namespace and (port is not None or python is not None):
        raise UsageError("--port and --python are for the local target only", hint="leave them out")
    record = place.store.load()
    before = record.assigned if record else Assigned()
    spec, source = spec_from(
        name if file else place.name,
        file,
        flags,
        record.spec if record else None,
        content=content,
        platform=lambda profile: PROFILES[profile] if profile else place.platform(Spec(), before),
    )
    require_supported(spec, place.platform(spec, before), source)
    for change in spec_changes(record.spec, spec) if record else ():
        note(f"Change: {change}")
    keys = s3_keys(place, record, spec, os.environ, Path(os.path.expanduser("~")), note, make_bucket=make_bucket)
    with step_list() as progress:
        created = create(place, spec, record, password, Deadline.after(timeout), progress, keys)
    _print(place, created, form)


def _exposure(wanted: str | None, *, gateway: object, ingress: object, route: object) -> str | None:
    """Return the kind of exposure that is asked for, or that what is asked for belongs to."""
    return wanted or ("gateway" if gateway else "ingress" if ingress else "route" if route else None)


def _project(namespace: str | None, csc_project: str | None) -> str:
    """Return the description of a project to make: on CSC's clusters, the line that says who pays is mandatory."""
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


def _absolute(python: str | None) -> str | None:
    """Return an interpreter's path that means the same from any folder and with any PATH."""
    if python is None:
        return None
    if os.sep in python:
        return os.path.abspath(os.path.expanduser(python))
    return shutil.which(python) or python


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
            }
        )
        return
    output.print_report(created.report)
    if not created.changed:
        print(f"\nNothing to change: server {spec.name!r} runs as asked for and was proven again.")
    options = f" {shlex.join(place.options)}" if place.namespace else ""
    lines = output.export_lines(place, created.endpoint, created.username)
    print(f"\nServer {spec.name!r} is running and verified.\n")
    output.print_fields(
        [
            ("Address", created.endpoint.url),
            ("User", created.username),
            ("Password", f"{output.own_command()} show-password {spec.name}{options}"),
            ("MLflow", spec.spec.mlflow.version),
        ]
    )
    if place.namespace and not created.record.assigned.host:
        port = created.record.assigned.ports["http"]
        print(
            "\nThis address holds inside the cluster, for the namespace that --ingress-namespace lets in. "
            "From elsewhere, keep a tunnel open and use "
            f"http://localhost:{port}:\n\n  kubectl {shlex.join(place.options)} port-forward svc/{spec.name} {port}"
        )
    print("\nPaste into the shell where your training runs:\n")
    print("\n".join(f"  {line}" for line in lines))
