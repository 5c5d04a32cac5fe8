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
    bool, typer.Option("--take-over", help="Change also what somebody else made or changed on the cluster.")
]
Output = Annotated[Format, typer.Option("--output", "-o", help="How the result is printed.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds until the command gives up.", min=1.0)]
