"""Decides when HAProxy may be reloaded: at once after the first change, then at most once in five seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

INTERVAL_SECONDS = 5.0  # defaultReloadInterval of openshift/router, pkg/cmd/infra/router/template.go:55


@dataclass(frozen=True)
class Reloads:
    """`started` is the start of the last reload, in seconds of a monotonic clock."""

    started: float = -math.inf

    def seconds_left(self, now: float) -> float:
        """Return how long a change has to wait; 0 on a quiet router."""
        return max(0.0, self.started + INTERVAL_SECONDS - now)
