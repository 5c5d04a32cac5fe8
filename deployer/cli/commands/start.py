"""deployer start: see deployer/operations/create.py."""

from __future__ import annotations

from deployer.cli import output
from deployer.cli.options import DEFAULT_TIMEOUT, Context, Name, Namespace, TakeOver, TargetOption, Timeout
from deployer.cli.progress import step_list
from deployer.cli.where import find_target
from deployer.operations.create import start
from deployer.targets import Deadline


def command(
    name: Name = "mlflow",
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    take_over: TakeOver = False,
    timeout: Timeout = DEFAULT_TIMEOUT,
) -> None:
    """Start a stopped server again and prove it."""
    place = find_target(name, target, namespace, context, take_over=take_over)
    with step_list() as progress:
        started = start(place, Deadline.after(timeout), progress)
    output.print_report(started.report)
    print(f"\nServer {name!r} is running at {started.endpoint.url}.")
