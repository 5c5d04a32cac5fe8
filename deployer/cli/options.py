"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

from deployer.cli.parsing import choice, seconds, whole_number

DEFAULT_TIMEOUT: Final = 600


class TargetKind(StrEnum):
    """Where a server runs."""

    local = "local"
    kubernetes = "kubernetes"


class Format(StrEnum):
    """The format of a result."""

    text = "text"
    json = "json"


class Form(StrEnum):
    """The use of the lines that `deployer env` prints."""

    shell = "shell"
    fish = "fish"
    powershell = "powershell"
    cmd = "cmd"
    dotenv = "dotenv"
    slurm = "slurm"
    jupyter = "jupyter"
    docker = "docker"
    github = "github"


def _names(incomplete: str) -> list[str]:
    """Return the names of servers on this machine, to complete one; a cluster would take too long to ask."""
    from deployer.core.errors import DeployerError
    from deployer.targets.local.store import FOLDER, server_names, state_home

    try:  # state_directory() would create the folder
        return [name for name in server_names(state_home() / FOLDER) if name.startswith(incomplete)]
    except DeployerError:
        return []


def _workloads(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the workloads of a server on this machine, to complete one."""
    from deployer.core.errors import DeployerError
    from deployer.targets.local.folders import folders_in
    from deployer.targets.local.store import FOLDER, state_home

    # an option without its value ends click's parser, which then leaves the server's name among the other arguments
    server = next(iter(ctx.args), None) or str(ctx.params.get("name"))
    try:
        folders = folders_in(state_home() / FOLDER / "servers" / server)
        return [folder.name for folder in folders if folder.name.startswith(incomplete)]
    except (DeployerError, OSError):
        return []


Name = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of the server.", show_default=True, autocompletion=_names)
]
OptionalName = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME", help="Name of the server; mlflow by default.", show_default=False, autocompletion=_names
    ),
]
TargetOption = Annotated[
    TargetKind | None,
    typer.Option(
        "--target",
        metavar="local|kubernetes",
        parser=choice("--target", TargetKind),
        help="Where the server runs; found out where it is not given.",
        show_default=False,
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAMESPACE",
        help="Namespace on a cluster; the context's own if not given.",
        show_default=False,
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        "--context",
        metavar="CONTEXT",
        help="Context of the kubeconfig; the current one if not given.",
        show_default=False,
    ),
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="On a cluster: change also what somebody else made or changed. Here: the other machine, on which the "
        "server is on record, is gone for good.",
    ),
]
Workload = Annotated[
    str,
    typer.Option(
        "--workload",
        metavar="NAME",
        help="Part of the server whose log is printed.",
        show_default=True,
        autocompletion=_workloads,
    ),
]
File = Annotated[str | None, typer.Option("--file", "-f", metavar="FILE", help="Spec file, - for standard input.")]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", metavar="PORT", parser=whole_number("--port", 1024, 65535), help="TCP port on this machine."
    ),
]
Python = Annotated[
    str | None, typer.Option("--python", metavar="PATH", help="Interpreter for the server's environment.")
]
MlflowVersion = Annotated[str | None, typer.Option("--mlflow-version", metavar="VERSION", help="MLflow release.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="COUNT",
        parser=whole_number("--workers", 1, 16),
        help="Processes that serve; 1 if not given.",
    ),
]
Username = Annotated[str | None, typer.Option("--username", metavar="NAME", help="The administrator's user name.")]
PasswordFile = Annotated[
    str | None,
    typer.Option("--password-file", metavar="FILE", help="File with the administrator's password; made if not given."),
]
DatabaseFile = Annotated[
    str | None,
    typer.Option(
        "--database-file",
        metavar="FILE",
        help="File with the URLs of the PostgreSQL databases to use, - for standard input.",
    ),
]
DefaultPermission = Annotated[
    str | None, typer.Option("--default-permission", metavar="PERMISSION", help="NO_PERMISSIONS, READ, EDIT or MANAGE.")
]
Bucket = Annotated[str | None, typer.Option("--bucket", metavar="NAME", help="S3 bucket for the artifacts.")]
S3Endpoint = Annotated[
    str | None, typer.Option("--s3-endpoint", metavar="URL", help="URL of the S3 service; Allas if not given.")
]
S3Region = Annotated[str | None, typer.Option("--s3-region", metavar="REGION", help="Its region, where it wants one.")]
S3Prefix = Annotated[str | None, typer.Option("--s3-prefix", metavar="PATH", help="Path inside the bucket.")]
Transfer = Annotated[
    str | None, typer.Option("--transfer", metavar="WAY", help="proxied (through the server) or direct (client to S3).")
]
MakeBucket = Annotated[bool, typer.Option("--make-bucket", help="Make the bucket if it is not there.")]
Output = Annotated[
    Format,
    typer.Option(
        "--output",
        "-o",
        metavar="text|json",
        parser=choice("--output", Format),
        help="How the result is printed.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", parser=seconds("--timeout"), help="Time until the command gives up."),
]
