"""An operation is a list of steps, each of which knows from what it sees whether it is done."""

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
    """One step: `done` decides from what is observed, `act` does it. An act that is cut short can be done again.

    `changes`: its act changes something; else it only waits for what was begun before.
    """

    name: str
    done: Callable[[Observed], Outcome]
    act: Callable[[Target, Observed, Deadline], None]
    changes: bool = True


class Progress(Protocol):
    """Is told how far an operation is."""

    def step(self, name: str, number: int, count: int) -> None:
        """A step has begun."""

    def done(self, name: str, detail: str, seconds: float | None) -> None:
        """A step is done; `seconds` is None where nothing was to do."""

    def note(self, text: str) -> None:
        """Something a person should know has happened."""


def run(
    steps: Sequence[Step],
    target: Target,
    deadline: Deadline,
    progress: Progress,
    observe: Callable[[], Observed] | None = None,
) -> bool:
    """Take every step in order, until all are done; tell whether there was anything to change.

    `observe` looks at what the steps decide from, where that is less than everything.

    Raises:
        NotReady: a step acted and still is not done, or the time is over.
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
