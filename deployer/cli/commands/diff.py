"""deployer diff: see deployer/operations/drift.py."""

from __future__ import annotations

from typing import Annotated

import typer

from deployer.cli import output
from deployer.cli.options import Context, Format, Namespace, Output, TargetOption
from deployer.cli.spec_options import spec_from
from deployer.cli.where import find_target
from deployer.core.errors import Drifted
from deployer.operations.drift import drift


def command(
    name: Annotated[
        str | None, typer.Argument(help="Name of the server; mlflow by default.", show_default=False)
    ] = None,
    file: Annotated[str | None, typer.Option("--file", "-f", help="Spec file, - for standard input.")] = None,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    form: Output = Format.text,
) -> None:
    """Show what differs from what was asked for; exit code 6 when something does."""
    spec = spec_from(name, file, {}, None)[0] if file else None
    place = find_target(spec.name if spec else name or "mlflow", target, namespace, context)
    changes = drift(place, spec)
    if form is Format.json:
        output.print_json([{"path": c.path, "before": c.before, "after": c.after} for c in changes])
    else:
        for change in changes:
            print(change)
    if changes:
        count = "1 place" if len(changes) == 1 else f"{len(changes)} places"
        raise Drifted(
            f"server {place.name!r} differs from what was asked for in {count}",
            hint=f"`deployer create {place.name}` brings it back",
        )
    if form is Format.text:
        print(f"Server {place.name!r} is as asked for.")
