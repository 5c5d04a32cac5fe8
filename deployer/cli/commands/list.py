"""deployer list: every server of this user on this machine."""

from __future__ import annotations

from deployer.cli import output
from deployer.cli.options import Format, Output
from deployer.core.errors import StateError
from deployer.operations.look import View, look
from deployer.targets.local.store import server_names, state_directory
from deployer.targets.local.target import local_target


def command(form: Output = Format.text) -> None:
    """List all servers, also those whose data alone is kept."""
    names = server_names(state_directory())
    views = [_look(name) for name in names]
    if form is Format.json:
        output.print_json([view.document() for view in views])
    elif not views:
        print("No servers yet. `deployer create` makes one.")
    else:
        rows = [(v.name, v.target, v.state, v.address or "-", v.version) for v in views]
        output.print_table(("name", "target", "state", "address", "mlflow"), rows)


def _look(name: str) -> View:
    try:
        return look(local_target(name, lambda _: None))
    except StateError as error:  # one damaged server must not hide the others
        return View(name, "local", "damaged", error.message, None, None, "-", proven=False)
