"""deployer delete: see deployer/operations/remove.py."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from deployer.cli.options import Context, Name, Namespace, TargetOption, Timeout
from deployer.cli.progress import step_list
from deployer.cli.where import find_target
from deployer.core.errors import UsageError
from deployer.core.spec import S3Artifacts
from deployer.operations.remove import delete
from deployer.targets import Deadline


def command(
    name: Name = "mlflow",
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Delete runs, artifacts and credentials too, for good.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    timeout: Timeout = 60.0,
) -> None:
    """Delete a server; its data and credentials are kept unless told otherwise."""
    place = find_target(name, target, namespace, context)
    if delete_data and not yes and place.store.known():
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError(
                f"--delete-data would destroy all runs, artifacts and credentials of {name!r}; nothing was deleted",
                hint="add --yes where nobody can be asked",
            )
        answer = typer.prompt(f"All runs, artifacts and credentials of {name!r} will be lost. Type its name", err=True)
        if answer != name:
            raise UsageError("that is not its name; nothing was deleted")
    record = place.store.load() if delete_data else None
    with step_list() as progress:
        delete(place, data=delete_data, deadline=Deadline.after(timeout), progress=progress)
    if delete_data:
        artifacts = record.spec.spec.artifacts if record else None
        if isinstance(artifacts, S3Artifacts):
            print(f"Server {name!r} is deleted, with its database and credentials.")
            print(f"Its artifacts stay in bucket {artifacts.bucket!r} at {artifacts.endpoint}.")
        else:
            print(f"Server {name!r} is deleted, with all its data.")
    else:
        print(
            f"Server {name!r} is deleted. Its data and credentials are kept: `deployer create {name}` brings it back."
        )
