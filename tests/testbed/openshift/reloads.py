"""Decides when HAProxy may be reloaded: the first change at once, later ones together, one reload in five seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass

INTERVAL_SECONDS = 5.0  # defaultReloadInterval of openshift/router, pkg/cmd/infra/router/template.go:55


@dataclass(frozen=True)
class Reloads:
    """`started` is when the last reload began, in seconds of a clock that only goes forward."""

    started: float = -math.inf

    def seconds_left(self, now: float) -> float:
        """How long a change has to wait; 0 on a quiet router."""
        return max(0.0, self.started + INTERVAL_SECONDS - now)
