"""deployer logs: prints the server's log."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from deployer.cli.ending import Stopped
from deployer.cli.options import Context, Name, Namespace, TargetOption
from deployer.cli.parsing import whole_number
from deployer.cli.progress import note


def command(
    name: Name = "mlflow",
    tail: Annotated[
        int,
        typer.Option(
            "--tail", metavar="LINES", parser=whole_number("--tail", 0, 1_000_000), help="Number of lines from the end."
        ),
    ] = 100,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing until interrupted.")] = False,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
) -> None:
    """Print the server's log."""
    from deployer.cli.where import find_target
    from deployer.operations.away import away
    from deployer.operations.records import require_record

    place = find_target(name, target, namespace, context, quiet=True)
    require_record(place)
    if live := away(place):
        note(f"Server {name!r} is on another machine: {live.detail}")
    try:
        for line in place.runtime.logs(tail, follow=follow):
            print(line)
            if follow:
                sys.stdout.flush()
    except KeyboardInterrupt:
        raise Stopped from None
