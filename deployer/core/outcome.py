"""The result of a check: done, or still waiting."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """Nothing is left to do; `detail` describes the current state."""

    detail: str = ""


@dataclass(frozen=True)
class Waiting:
    """Something is still to be done, or has not happened yet; `reason` says what."""

    reason: str


Outcome = Done | Waiting
