"""The time limit of a command."""

from __future__ import annotations

import time
from dataclasses import dataclass

from deployer.core.errors import NotReady
from deployer.core.remedies import Remedy


@dataclass(frozen=True)
class Deadline:
    """The moment at which a command gives up; it is passed on and never restarted."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline that is `seconds` from now."""
        return cls(time.monotonic() + seconds)

    @property
    def left(self) -> float:
        """The remaining seconds, at least 0."""
        return max(0.0, self.at - time.monotonic())

    def require(self, what: str) -> None:
        """Raise NotReady if no time is left; `what` says what is not ready."""
        if not self.left:
            raise NotReady(f"{what}: the time given is over", hint=Remedy.GIVE_TIME_OR_TRY_AGAIN)
