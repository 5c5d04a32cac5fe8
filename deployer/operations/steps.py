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


def run(
    steps: Sequence[Step],
    target: Target,
    deadline: Deadline,
    progress: Progress,
    observe: Callable[[], Observed] | None = None,
) -> bool:
    """Run the steps in order; return True if a step changed something.

    `observe` replaces `target.observe` for operations whose steps need less.

    Raises:
        NotReady: a step is still not done after its action, or the deadline has passed.
    """
    changed = False
    observe = observe or target.observe
    observed = observe()
    for number, step in enumerate(steps, 1):
        outcome = step.done(observed)
        if isinstance(outcome, Done):
            progress.done(step.name, outcome.detail, None)
            continue
        progress.step(step.name, number, len(steps))
        begun = time.monotonic()
        deadline.require(step.name)
        changed = changed or step.changes
        step.act(target, observed, deadline)
        observed = observe()
        outcome = step.done(observed)
        if isinstance(outcome, Waiting):
            raise NotReady(f"{step.name}: {outcome.reason}")
        progress.done(step.name, outcome.detail, time.monotonic() - begun)
    return changed
