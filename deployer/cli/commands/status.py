"""deployer status: one server at a glance."""

from __future__ import annotations

import typer

from deployer.cli import output
from deployer.cli.options import Context, Format, Name, Namespace, Output, TargetOption
from deployer.cli.where import find_target
from deployer.operations.look import look


def command(
    name: Name = "mlflow",
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    form: Output = Format.text,
) -> None:
    """Show one server; exit code 3 when it is not ready."""
    view = look(find_target(name, target, namespace, context, quiet=True), software=True)
    if form is Format.json:
        output.print_json(view.document())
    else:
        output.print_fields([(key, str(value)) for key, value in view.document().items() if value is not None])
    if view.state != "ready":
        raise typer.Exit(3)
