"""deployer env: shell lines for MLflow clients, without the password in them."""

from __future__ import annotations

from deployer.cli import output
from deployer.cli.options import Context, Format, Name, Namespace, Output, TargetOption
from deployer.cli.where import find_target
from deployer.operations.create import endpoint_of, login_of


def command(
    name: Name = "mlflow",
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    form: Output = Format.text,
) -> None:
    """Print shell lines for MLflow clients: eval "$(deployer env NAME)"."""
    place = find_target(name, target, namespace, context, quiet=True)
    endpoint, login = endpoint_of(place), login_of(place)
    lines = output.export_lines(place, endpoint, login.username)
    if form is Format.json:
        output.print_json({"address": endpoint.url, "username": login.username, "lines": lines})
    else:
        print("\n".join(lines))
