"""deployer delete: see deployer/operations/remove.py."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from deployer.cli.options import Context, Format, Name, Namespace, Output, TargetOption, Timeout
from deployer.cli.plans import DryRun, print_plan
from deployer.cli.progress import note, step_list
from deployer.core.errors import Damaged, UsageError

if TYPE_CHECKING:
    from deployer.core.record import Record
    from deployer.targets import Target


def command(
    name: Name = "mlflow",
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Also delete runs, artifacts and credentials.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    dry_run: DryRun = False,
    timeout: Timeout = 60,
    form: Output = Format.text,
) -> None:
    """Delete a server; its data and credentials are kept unless told otherwise."""
    from deployer.cli.output import print_json
    from deployer.cli.where import find_target
    from deployer.operations.plan_remove import plan_delete
    from deployer.operations.remove import delete
    from deployer.targets import Deadline

    place = find_target(name, target, namespace, context, dry_run=dry_run)
    gone, kept = _outcome(_record(place) if delete_data else None)
    if dry_run:
        plan = plan_delete(place, data=delete_data)
        lost = (f"{gone.capitalize()} of {name!r} would be lost.", *kept) if delete_data and plan.needed else ()
        print_plan(place, replace(plan, remarks=(*lost, *plan.remarks)), form)
        return
    if delete_data and not yes and place.store.known():
        if sys.stdin is None or not sys.stdin.isatty():
            raise UsageError(
                f"--delete-data would destroy {gone} of {name!r}; nothing was deleted",
                hint="add --yes where nobody can be asked",
            )
        answer = typer.prompt(f"{gone.capitalize()} of {name!r} will be lost. Type its name", err=True)
        if answer != name:
            raise UsageError("that is not its name; nothing was deleted")
    with step_list() as progress:
        delete(place, data=delete_data, deadline=Deadline.after(timeout), progress=progress)
    if form is Format.json:
        print_json({"name": name, "namespace": place.namespace, "deleted": True, "dataDeleted": delete_data})
    elif delete_data:
        print(f"Server {name!r} is deleted, with {gone if kept else 'all its data'}.")
        for line in kept:
            print(line)
    else:
        print(
            f"Server {name!r} is deleted. Its data and credentials are kept: `deployer create {name}` brings it back."
        )


def _record(place: Target) -> Record | None:
    """Return the record, or None if the record is missing or damaged."""
    try:
        return place.store.load()
    except Damaged as error:
        note(f"Warning: {error.message}. If the server has a bucket or databases elsewhere, what is in them stays.")
        return None


def _outcome(record: Record | None) -> tuple[str, list[str]]:
    """Return what a deletion of the data removes, and a sentence for each external service that keeps data."""
    from deployer.core.spec import ExternalDatabase, S3Artifacts

    spec = record.spec.spec if record else None
    gone, kept = ["runs", "artifacts", "credentials"], []
    if spec and isinstance(spec.artifacts, S3Artifacts):
        gone.remove("artifacts")
        kept.append(f"Its artifacts stay in bucket {spec.artifacts.bucket!r} at {spec.artifacts.endpoint}.")
    if spec and isinstance(spec.database, ExternalDatabase):
        gone.remove("runs")
        kept.append("Its runs and users stay in their databases, which deployer does not run.")
    return f"all {' and '.join(filter(None, (', '.join(gone[:-1]), gone[-1])))}", kept
