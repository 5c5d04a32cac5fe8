"""How far something is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Done:
    """Nothing is left to do; `detail` says what holds."""

    detail: str = ""


@dataclass(frozen=True)
class Waiting:
    """Something is still to do, or to happen."""

    reason: str


Outcome = Done | Waiting
