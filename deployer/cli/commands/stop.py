"""deployer stop: see deployer/operations/remove.py."""

from __future__ import annotations

from deployer.cli.options import Context, Name, Namespace, TakeOver, TargetOption, Timeout
from deployer.cli.progress import step_list
from deployer.cli.where import find_target
from deployer.operations.records import require_record
from deployer.operations.remove import stop
from deployer.targets import Deadline


def command(
    name: Name = "mlflow",
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    take_over: TakeOver = False,
    timeout: Timeout = 60,
) -> None:
    """Stop a server; everything is kept."""
    place = find_target(name, target, namespace, context, take_over=take_over)
    require_record(place)
    with step_list() as progress:
        stop(place, Deadline.after(timeout), progress)
    print(f"Server {name!r} is stopped. `deployer start {name}` starts it again.")
