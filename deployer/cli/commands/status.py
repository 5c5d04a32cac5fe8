"""deployer status: shows one server."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deployer.cli.ending import Stopped
from deployer.cli.options import Context, Format, Name, Namespace, Output, TargetOption
from deployer.cli.progress import note

if TYPE_CHECKING:
    from deployer.operations.status import Examined, View

_MIB: Final = 1 << 20
_STARTED_AGAIN: Final = ("stopped", "crashed", "rebooted")


def command(
    name: Name = "mlflow",
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Print a line now and after each change, until interrupted.")
    ] = False,
    form: Output = Format.text,
) -> None:
    """Show one server; exit code 3 when it is not ready."""
    from deployer.cli import output
    from deployer.cli.typed import typed
    from deployer.cli.where import find_target
    from deployer.operations.status import examine
    from deployer.operations.wait import changes
    from deployer.targets.local.other_data import unused_data

    place = find_target(name, target, namespace, context, quiet=True)
    if watch:
        try:
            _print_each(changes(place), form)
        except KeyboardInterrupt:
            raise Stopped from None
    found = examine(place)
    if place.capabilities.stored_here:
        for warning in unused_data(name, None):
            note(warning)
    if form is Format.json:
        output.print_json(found.document())
    else:
        output.print_fields(_fields(found))
        for line in found.log:
            print(f"  {line}")
        if found.view.state in _STARTED_AGAIN:
            note(f"Next: `{typed(place.ref, 'start')}`")
    if found.view.state != "ready":
        raise typer.Exit(3)


def _print_each(views: Iterable[View], form: Format) -> None:
    from deployer.cli import output

    for view in views:
        if form is Format.json:
            output.print_json(view.document())
        else:
            time = datetime.now().astimezone().strftime("%H:%M:%S")
            proof = "proven" if view.proven else "not proven"
            print(f"{time}  {view.state:<9} {proof:<10} {view.address or '-'}  {view.detail}")
        sys.stdout.flush()


def _fields(found: Examined) -> list[tuple[str, str]]:
    """Return the known facts, one field each."""
    fields = [(key, str(value)) for key, value in found.view.document().items() if value is not None]
    place = found.circumstances
    if place.data is not None:
        fields.append(("data", place.data))
    if place.size is not None:
        fields.append(("size", f"{'' if place.counted else 'more than '}{place.size / _MIB:.1f} MiB"))
    if found.uptime is not None:
        fields.append(("uptime", _duration(int(found.uptime))))
    software = (
        ("packages", found.software.packages),
        ("image", found.software.image),
        ("digest", found.software.digest),
    )
    fields += [(name, value) for name, value in software if value is not None]
    if found.log:
        fields.append(("log", "its last lines:"))
    return fields


def _duration(seconds: int) -> str:
    """Return a duration as kubectl shows ages: in its two largest units."""
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    first = next((number for number, (_, size) in enumerate(units) if seconds >= size), len(units) - 1)
    words = []
    for name, size in units[first : first + 2]:
        words.append(f"{seconds // size}{name}")
        seconds %= size
    return " ".join(words)
