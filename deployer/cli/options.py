"""The options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

DEFAULT_TIMEOUT: Final = 600.0


class TargetKind(StrEnum):
    """Where a server runs."""

    local = "local"
    kubernetes = "kubernetes"


class Format(StrEnum):
    """How a result is printed."""

    text = "text"
    json = "json"


class Form(StrEnum):
    """What lines for MLflow clients are for."""

    shell = "shell"
    fish = "fish"
    powershell = "powershell"
    cmd = "cmd"
    dotenv = "dotenv"
    slurm = "slurm"
    jupyter = "jupyter"
    docker = "docker"
    github = "github"


Name = Annotated[str, typer.Argument(help="Name of the server.", show_default=True)]
TargetOption = Annotated[
    TargetKind | None,
    typer.Option("--target", help="Where the server runs; found out where it is not given.", show_default=False),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", help="Namespace on a cluster; the context's own if not given.", show_default=False
    ),
]
Context = Annotated[
    str | None,
    typer.Option("--context", help="Context of the kubeconfig; the current one if not given.", show_default=False),
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="On a cluster: change also what somebody else made or changed. Here: the other machine, on which the "
        "server is on record, is gone for good.",
    ),
]
File = Annotated[str | None, typer.Option("--file", "-f", help="Spec file, - for standard input.")]
Port = Annotated[int | None, typer.Option("--port", help="TCP port on this machine.")]
Python = Annotated[str | None, typer.Option("--python", help="Interpreter for the server's environment.")]
MlflowVersion = Annotated[str | None, typer.Option("--mlflow-version", help="MLflow release.")]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes that serve; 1 if not given.")]
Username = Annotated[str | None, typer.Option("--username", help="The administrator's user name.")]
PasswordFile = Annotated[
    str | None, typer.Option("--password-file", help="File with the administrator's password; made if not given.")
]
DatabaseFile = Annotated[
    str | None,
    typer.Option(
        "--database-file", help="File with the URLs of the PostgreSQL databases to use, - for standard input."
    ),
]
DefaultPermission = Annotated[
    str | None, typer.Option("--default-permission", help="NO_PERMISSIONS, READ, EDIT or MANAGE.")
]
Bucket = Annotated[str | None, typer.Option("--bucket", help="S3 bucket for the artifacts.")]
S3Endpoint = Annotated[str | None, typer.Option("--s3-endpoint", help="URL of the S3 service; Allas if not given.")]
S3Region = Annotated[str | None, typer.Option("--s3-region", help="Its region, where it wants one.")]
S3Prefix = Annotated[str | None, typer.Option("--s3-prefix", help="Path inside the bucket.")]
Transfer = Annotated[
    str | None, typer.Option("--transfer", help="proxied (through the server) or direct (client to S3).")
]
MakeBucket = Annotated[bool, typer.Option("--make-bucket", help="Make the bucket if it is not there.")]
Output = Annotated[Format, typer.Option("--output", "-o", help="How the result is printed.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds until the command gives up.", min=1.0)]
