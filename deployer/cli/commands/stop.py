"""deployer stop: see deployer/operations/remove.py."""

from __future__ import annotations

from deployer.cli.options import Context, Format, Name, Namespace, Output, TakeOver, TargetOption, Timeout
from deployer.cli.plans import DryRun, print_plan
from deployer.cli.progress import step_list


def command(
    name: Name = "mlflow",
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    take_over: TakeOver = False,
    dry_run: DryRun = False,
    timeout: Timeout = 60,
    form: Output = Format.text,
) -> None:
    """Stop a server; keep all data."""
    from deployer.cli.output import print_json
    from deployer.cli.where import find_target
    from deployer.operations.plan_remove import plan_stop
    from deployer.operations.records import require_record
    from deployer.operations.remove import stop
    from deployer.targets import Deadline

    place = find_target(name, target, namespace, context, take_over=take_over, dry_run=dry_run)
    if dry_run:
        print_plan(place, plan_stop(place), form)
        return
    require_record(place)
    with step_list() as progress:
        stop(place, Deadline.after(timeout), progress)
    if form is Format.json:
        print_json({"name": name, "namespace": place.namespace, "stopped": True})
        return
    print(f"Server {name!r} is stopped. `deployer start {name}` starts it again.")
