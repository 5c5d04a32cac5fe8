"""deployer rotate-keys: see deployer/operations/rotate_keys.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from deployer.cli.options import (
    DEFAULT_TIMEOUT,
    Context,
    ForceConflicts,
    Format,
    Name,
    Namespace,
    Output,
    TakeOver,
    TargetOption,
    Timeout,
)
from deployer.cli.plans import DryRun, print_plan
from deployer.cli.progress import note, step_list


def command(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="s3; the keys flask, kek and webhook cannot be rotated.")],
    name: Name = "mlflow",
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    take_over: TakeOver = False,
    force_conflicts: ForceConflicts = False,
    dry_run: DryRun = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
    form: Output = Format.text,
) -> None:
    """Replace the S3 keys of a server; deployer finds the new keys where `create` finds keys."""
    from deployer.cli import output
    from deployer.cli.where import find_target
    from deployer.operations.plan_create import plan_rotate_keys
    from deployer.operations.rotate_keys import require_rotatable, rotate_s3_keys
    from deployer.targets import Deadline

    require_rotatable(kind)
    place = find_target(
        name,
        target,
        namespace,
        context,
        take_over=take_over,
        force_conflicts=force_conflicts,
        introduce=True,
        dry_run=dry_run,
    )
    home = Path(os.path.expanduser("~"))
    if dry_run:
        print_plan(place, plan_rotate_keys(place, os.environ, home, note), form)
        return
    with step_list() as progress:
        rotated = rotate_s3_keys(place, os.environ, home, note, Deadline.after(timeout), progress)
    if form is Format.json:
        report = output.report_document(rotated.report)
        output.print_json({"name": name, "changed": rotated.changed, "verified": report})
        return
    output.print_report(rotated.report)
    if rotated.changed:
        print(f"\nServer {name!r} is proven with the new S3 keys. The old ones may be withdrawn now.")
    else:
        print(f"\nNothing to change: server {name!r} has these S3 keys already, and was proven again.")
