"""Prints the plan of a dry run: changes as `diff` prints them, steps as the command names them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from deployer.cli.options import Format

if TYPE_CHECKING:
    from deployer.operations.plan import Plan
    from deployer.targets import Target

DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would happen, and change nothing.")]
_NEEDED: Final = {True: "yes", False: "-"}


def print_plan(place: Target, plan: Plan, form: Format) -> None:
    """Print what a command would do."""
    from deployer.cli.output import print_json, print_table

    if form is Format.json:
        print_json(_document(place, plan))
        return
    for change in plan.changes:
        print(change)
    if plan.changes:
        print()
    print_table(("step", "needed", "state now"), [(each.step, _NEEDED[each.needed], each.state) for each in plan.steps])
    print()
    for remark in plan.remarks:
        print(remark)
    print("This was a dry run: nothing was changed." if plan.needed else "There is nothing to do.")


def _document(place: Target, plan: Plan) -> dict[str, Any]:
    return {
        "name": place.name,
        "namespace": place.namespace,
        "dryRun": True,
        "needed": plan.needed,
        "steps": [{"step": each.step, "needed": each.needed, "state": each.state} for each in plan.steps],
        "changes": [{"path": change.path, "before": change.before, "after": change.after} for change in plan.changes],
        "remarks": list(plan.remarks),
    }
