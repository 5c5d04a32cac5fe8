"""The plans of `stop` and `delete`: which steps they would run, and which objects would go."""

from __future__ import annotations

from deployer.core.changes import Change
from deployer.core.components import build
from deployer.operations.plan import Plan, planned_steps, remarks
from deployer.operations.records import require_record
from deployer.operations.remove import STOP_STEPS, delete_steps, observe_for_delete, require_known
from deployer.targets import Observed, Target


def plan_stop(target: Target) -> Plan:
    """Return what `stop` would do.

    Raises:
        DeployerError: an error that `stop` raises before its first write.
    """
    require_record(target)
    observed = target.observe_public()
    _require_here(target, observed)
    target.store.require_rights("stop")
    return Plan(planned_steps(STOP_STEPS, observed), (), remarks(target))


def plan_delete(target: Target, *, data: bool) -> Plan:
    """Return what `delete` would do.

    Raises:
        DeployerError: an error that `delete` raises before its first write.
    """
    require_known(target)
    observed = observe_for_delete(target, data=data)
    _require_here(target, observed)
    target.store.require_rights("delete data" if data else "delete")
    steps = planned_steps(delete_steps(target, data=data), observed)
    objects = () if target.capabilities.stored_here else target.runtime.remains()
    return Plan(steps, tuple(Change(name, "there", None) for name in objects), remarks(target))


def _require_here(target: Target, observed: Observed) -> None:
    """Check that the server is not on another machine, or that the user says that machine is gone.

    Raises:
        Conflict: the server is on another machine.
    """
    record, live = observed.record, observed.live
    if live.state == "elsewhere" and record and record.assigned.ports:
        stack = build(record.spec, target.platform(record.spec, record.assigned), record.assigned)
        target.runtime.drift(stack, live)  # raises the Conflict
