"""deployer diff: see deployer/operations/drift.py."""

from __future__ import annotations

from typing import Annotated

import typer

from deployer.cli.options import Context, Format, Namespace, OptionalName, Output, TargetOption
from deployer.core.errors import Drifted


def command(
    name: OptionalName = None,
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="FILE", help="Spec file, - for standard input.")
    ] = None,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    form: Output = Format.text,
) -> None:
    """Show what differs from what was asked for; exit code 6 when something does."""
    from deployer.cli import output
    from deployer.cli.effective import effective
    from deployer.cli.spec_options import SPEC_FILE, read_limited, spec_from
    from deployer.cli.where import find_target
    from deployer.operations.drift import drift

    content = read_limited(file, SPEC_FILE) if file is not None else b""
    spec = spec_from(name, file, {}, None, content=content)[0] if file is not None else None
    place = find_target(spec.name if spec else "mlflow" if name is None else name, target, namespace, context)
    if spec and (record := place.store.load()):  # as `create` does
        spec = effective(spec, place.platform(spec, record.assigned), {}, record.spec, file, content)
    changes = drift(place, spec)
    if form is Format.json:
        output.print_json([{"path": c.path, "before": c.before, "after": c.after} for c in changes])
    else:
        for change in changes:
            print(change)
    if changes:
        count = "1 place" if len(changes) == 1 else f"{len(changes)} places"
        raise Drifted(
            f"server {place.name!r} differs from its spec in {count}",
            hint=f"`deployer create {place.name}` brings it back",
        )
    if form is Format.text:
        print(f"Server {place.name!r} matches its spec.")
