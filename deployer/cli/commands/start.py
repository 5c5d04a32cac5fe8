"""deployer start: see deployer/operations/create.py."""

from __future__ import annotations

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
from deployer.cli.progress import step_list


def command(
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
    """Start a stopped server again and prove it."""
    from deployer.cli import output
    from deployer.cli.where import find_target
    from deployer.operations.create import start
    from deployer.operations.plan_create import plan_start
    from deployer.targets import Deadline

    place = find_target(
        name, target, namespace, context, take_over=take_over, force_conflicts=force_conflicts, dry_run=dry_run
    )
    if dry_run:
        print_plan(place, plan_start(place), form)
        return
    with step_list() as progress:
        started = start(place, Deadline.after(timeout), progress)
    if form is Format.json:
        output.print_json(
            {
                "name": name,
                "namespace": place.namespace,
                "changed": started.changed,
                "address": started.endpoint.url,
                "verified": output.report_document(started.report),
            }
        )
        return
    output.print_report(started.report)
    print(f"\nServer {name!r} is running at {started.endpoint.url}.")
