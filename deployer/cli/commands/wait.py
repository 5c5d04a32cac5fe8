"""deployer wait: see deployer/operations/wait.py."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from deployer.cli.options import DEFAULT_TIMEOUT, Context, Format, Name, Namespace, Output, TargetOption, Timeout
from deployer.cli.parsing import choice
from deployer.cli.progress import note


class ConditionName(StrEnum):
    """What to wait for."""

    ready = "ready"
    verified = "verified"


def command(
    name: Name = "mlflow",
    condition: Annotated[
        ConditionName,
        typer.Option(
            "--for",
            metavar="CONDITION",
            parser=choice("--for", ConditionName),
            help="ready: the server reads its databases; verified: it has also passed all checks since its start.",
        ),
    ] = ConditionName.ready,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    timeout: Timeout = DEFAULT_TIMEOUT,
    form: Output = Format.text,
) -> None:
    """Wait until a server is ready, or proven."""
    from deployer.cli import output
    from deployer.cli.where import find_target
    from deployer.operations.wait import wait_for
    from deployer.targets import Deadline

    place = find_target(name, target, namespace, context, quiet=True)
    view = wait_for(place, condition.value, Deadline.after(timeout), note)
    if form is Format.json:
        output.print_json(view.document())
    else:
        print(f"Server {name!r} is {condition.value} at {view.address}.")
