"""Runs an operation as a list of steps; each step decides from the observed state whether it is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from deployer.core.errors import NotReady
from deployer.core.outcome import Done, Outcome, Waiting
from deployer.targets import Deadline, Observed, Target


@dataclass(frozen=True)
class Step:
    """One step: `done` decides from the observed state, `act` makes the change. An interrupted `act` can be repeated.

    `changes` is False for a step that only waits for an earlier change.
    """

    name: str
    done: Callable[[Observed], Outcome]
    act: Callable[[Target, Observed, Deadline], None]
    changes: bool = True


class Progress(Protocol):
    """Receives the progress of an operation."""

    def step(self, name: str, number: int, count: int) -> None:
        """Report that a step has begun."""

    def done(self, name: str, detail: str, seconds: float | None) -> None:
        """Report that a step is done; `seconds` is None if there was nothing to do."""

    def note(self, text: str) -> None:
        """Report an event that the user should know about."""


@dataclass(frozen=True)
class Advance:
    """The result of one `advance`.

    `step` is the first step that is not done according to the observation, `reason` says why, and `number` is its index
    in the list. `step` is None if all steps are done. `acted` tells whether the step's action has run; if not, the step
    waits for an earlier change. `begun` is the time of `time.monotonic()` before the action.
    """

    number: int
    step: Step | None = None
    reason: str = ""
    acted: bool = False
    begun: float = 0.0


def advance(
    steps: Sequence[Step],
    target: Target,
    observed: Observed,
    deadline: Deadline,
    progress: Progress,
    *,
    passed: int = 0,
    blocking: bool = False,
) -> Advance:
    """Run the first step that is not done according to `observed`. Run one action at most: it outdates `observed`.

    `observed` may come from a cache: each action can be repeated, and a Store refuses to replace a record that it does
    not know. The first `passed` steps are taken as done. A step that only waits for an earlier change does nothing, and
    the caller observes again later; with `blocking`, it waits until the deadline.

    Raises:
        NotReady: the deadline has passed.
    """
    for number, step in enumerate(steps[passed:], passed):
        outcome = step.done(observed)
        if isinstance(outcome, Done):
            progress.done(step.name, outcome.detail, None)
            continue
        begun, acts = time.monotonic(), step.changes or blocking
        if acts:
            progress.step(step.name, number + 1, len(steps))
            deadline.require(step.name)
            step.act(target, observed, deadline)
        return Advance(number, step, outcome.reason, acts, begun)
    return Advance(len(steps))


def run(
    steps: Sequence[Step],
    target: Target,
    deadline: Deadline,
    progress: Progress,
    observe: Callable[[], Observed] | None = None,
) -> bool:
    """Advance until all steps are done; return True if a step changed something.

    `observe` replaces `target.observe` for operations whose steps need less.

    Raises:
        NotReady: a step is still not done after its action, or the deadline has passed.
    """
    observe = observe or target.observe
    observed, passed, changed = observe(), 0, False
    while True:
        made = advance(steps, target, observed, deadline, progress, passed=passed, blocking=True)
        if made.step is None:
            return changed
        observed = observe()
        outcome = made.step.done(observed)
        if isinstance(outcome, Waiting):
            raise NotReady(f"{made.step.name}: {outcome.reason}")
        progress.done(made.step.name, outcome.detail, time.monotonic() - made.begun)
        passed, changed = made.number + 1, changed or made.step.changes
