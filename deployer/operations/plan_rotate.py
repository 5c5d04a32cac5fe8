"""The plan of `rotate-password`: which steps it would run. The server is asked which passwords it accepts."""

from __future__ import annotations

from typing import Final

from deployer.core.errors import NotReady, VerificationFailed
from deployer.operations.plan import Plan, Planned, planned_steps, remarks
from deployer.operations.records import require_record
from deployer.operations.rotate import known_secrets, passwords_in_turn, require_user_name, running
from deployer.operations.rotation_steps import Rotation
from deployer.targets import Deadline, Observed, Target
from deployer.tracking.client import Refused, Unreachable
from deployer.tracking.refusals import meaning

_LOST: Final = "the administrator's password is gone, and a new one is made"
_FIRST: Final = "An interrupted change of this password is completed first."


def plan_rotation(
    target: Target, user: str | None, password: str | None, deadline: Deadline, *, recover: bool = False
) -> Plan:
    """Return what `rotate` with the same arguments would do. No password is made.

    Raises:
        DeployerError: an error that `rotate` raises before its first write.
    """
    record = require_record(target)
    require_user_name(user)
    stored = known_secrets(target, recover=recover)
    live = running(target, recover=recover)
    target.store.require_rights("rotate")
    if stored is None:
        steps = ("stage", "change", "record", "verify")
        return Plan(tuple(Planned(name, needed=True, state=_LOST) for name in steps), (), remarks(target))
    try:
        with target.access.open(record.assigned, deadline) as endpoint:
            who = user or stored.username
            turns = passwords_in_turn(stored, who, password)
            work = Rotation(target, endpoint, who, turns[0], deadline, recover=recover)
            work.require_user(stored)
            observed = Observed(record, stored, live, ready=True)
            steps_now = planned_steps(work.steps(), observed)
    except Unreachable as error:
        raise NotReady(str(error), hint="type the same command again") from error
    except Refused as error:
        raise VerificationFailed(f"the server does not answer as expected: {meaning(error).message}") from error
    return Plan(steps_now, (), (*([_FIRST] if len(turns) > 1 else ()), *remarks(target)))
