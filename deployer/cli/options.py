"""Options that several commands share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

from deployer.cli.help import ARTIFACTS, CLUSTER, DATABASE, SERVER, TARGET, THIS_MACHINE
from deployer.cli.parsing import choice, seconds

DEFAULT_TIMEOUT: Final = 600


class TargetKind(StrEnum):
    """Where a server runs."""

    local = "local"
    kubernetes = "kubernetes"


class Format(StrEnum):
    """The format of a result."""

    text = "text"
    json = "json"


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
        help="Where the server runs; detected by default.",
        show_default=False,
        rich_help_panel=TARGET,
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "-n",
        metavar="NAMESPACE",
        help="Namespace on a cluster; default: that of the context.",
        show_default=False,
        rich_help_panel=TARGET,
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        "--context",
        metavar="CONTEXT",
        help="Context of the kubeconfig; default: the current one.",
        show_default=False,
        rich_help_panel=TARGET,
    ),
]
TakeOver = Annotated[
    bool,
    typer.Option(
        "--take-over",
        help="Confirm that the recorded other machine is gone.",
        rich_help_panel=THIS_MACHINE,
    ),
]
"""On a cluster, a hidden alias of --force-conflicts."""
ForceConflicts = Annotated[
    bool,
    typer.Option(
        "--force-conflicts",
        help="Also change what others created or changed.",
        rich_help_panel=CLUSTER,
    ),
]
Workload = Annotated[
    str,
    typer.Option(
        "--workload",
        metavar="NAME",
        help="The program of the server whose log to print.",
        show_default=True,
        autocompletion=_workloads,
    ),
]
File = Annotated[str | None, typer.Option("--file", "-f", metavar="FILE", help="Spec file, - for standard input.")]
PasswordFile = Annotated[
    str | None,
    typer.Option(
        "--password-file",
        metavar="FILE",
        help="File with the administrator's password; default: generate one.",
        rich_help_panel=SERVER,
    ),
]
DatabaseFile = Annotated[
    str | None,
    typer.Option(
        "--database-file",
        metavar="FILE",
        help="File with the URLs of the PostgreSQL databases, - for standard input.",
        rich_help_panel=DATABASE,
    ),
]
MakeBucket = Annotated[
    bool, typer.Option("--make-bucket", help="Create the bucket if it does not exist.", rich_help_panel=ARTIFACTS)
]
Output = Annotated[
    Format,
    typer.Option(
        "--output",
        "-o",
        metavar="text|json",
        parser=choice("--output", Format),
        help="Format of the result.",
    ),
]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="SECONDS", parser=seconds("--timeout"), help="Time until the command gives up."),
]
