"""deployer show-password: the password alone, for people and for `$(...)`."""

from __future__ import annotations

from deployer.cli.options import Context, Name, Namespace, TargetOption
from deployer.cli.where import find_target
from deployer.operations.create import login_of


def command(
    name: Name = "mlflow", target: TargetOption = None, namespace: Namespace = None, context: Context = None
) -> None:
    """Print the administrator's password and nothing else."""
    print(login_of(find_target(name, target, namespace, context, quiet=True)).password)
