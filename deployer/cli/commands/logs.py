"""deployer logs: prints the server's log."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from deployer.cli.ending import Stopped
from deployer.cli.options import Context, Name, Namespace, TargetOption, Workload
from deployer.cli.parsing import whole_number
from deployer.cli.progress import note
from deployer.core.stack import SERVER


def command(
    name: Name = "mlflow",
    tail: Annotated[
        int,
        typer.Option(
            "--tail", metavar="LINES", parser=whole_number("--tail", 0, 1_000_000), help="Number of lines from the end."
        ),
    ] = 100,
    workload: Workload = SERVER,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing new lines until interrupted.")] = False,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Print the server's log."""
    from deployer.cli.where import find_target
    from deployer.operations.away import away
    from deployer.operations.logs import logs

    place = find_target(name, target, namespace, context, quiet=True)
    lines = logs(place, workload, tail, follow=follow)
    if live := away(place):
        note(f"Server {name!r} is on another machine: {live.detail}")
    try:
        for line in lines:
            print(line)
            if follow:
                sys.stdout.flush()
    except KeyboardInterrupt:
        raise Stopped from None
