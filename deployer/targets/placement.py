"""The interface Placement: where a server is put, and what the machine or cluster assigns to it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from deployer.core.assigned import Assigned
from deployer.core.platform import Platform
from deployer.core.spec import Spec
from deployer.targets.deadline import Deadline


class Placement(Protocol):
    """Assigns a place to a server. Works before the parts of the server are known, so it reads the spec."""

    def platform(self, spec: Spec, before: Assigned) -> Platform:
        """Return the platform of this machine or cluster."""

    def check(self, spec: Spec, before: Assigned) -> None:
        """Raise any error that this spec would cause here, before anything is stored."""

    def assigned(self, spec: Spec, before: Assigned) -> bool:
        """Tell whether `before` has everything that this spec needs from the machine or cluster."""

    def predict_assignment(self, spec: Spec, before: Assigned) -> Assigned:
        """Return what `assign` would return after `before`, as far as that is known without asking the cluster."""

    def assign(self, spec: Spec, before: Assigned, deadline: Deadline) -> AbstractContextManager[Assigned]:
        """Reserve an address for this spec until it is stored; keep what `before` already has."""
