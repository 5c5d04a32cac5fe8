"""A plan: what an operation would do, from the same steps that the operation runs. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deployer.core.changes import Change
from deployer.core.outcome import Outcome, Waiting
from deployer.operations.steps import Step
from deployer.targets import Observed, Target


@dataclass(frozen=True)
class Planned:
    """One step: whether there is something to do, and the state that decides this."""

    step: str
    needed: bool
    state: str


@dataclass(frozen=True)
class Plan:
    """The steps of an operation, the changes as `diff` shows them, and remarks as whole sentences."""

    steps: tuple[Planned, ...]
    changes: tuple[Change, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def needed(self) -> bool:
        """Whether any step has something to do."""
        return any(step.needed for step in self.steps)


def planned(step: Step, outcome: Outcome) -> Planned:
    """Return a step with its outcome before the operation."""
    if isinstance(outcome, Waiting):
        return Planned(step.name, needed=True, state=outcome.reason)
    return Planned(step.name, needed=False, state=outcome.detail)


def planned_steps(steps: Iterable[Step], observed: Observed) -> tuple[Planned, ...]:
    """Return the steps with their outcomes for one observation."""
    return tuple(planned(step, step.done(observed)) for step in steps)


def remarks(target: Target) -> tuple[str, ...]:
    """Return that another deployer works on the server, if so: the plan may then be out of date."""
    if target.store.in_use():
        return ("Another deployer works on this server, or was interrupted: this plan may be out of date.",)
    return ()
