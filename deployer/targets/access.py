"""The interface Access: how clients reach a server."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol

from deployer.core.assigned import Assigned
from deployer.targets.deadline import Deadline
from deployer.tracking.client import Endpoint


class Access(Protocol):
    """Reaches a server."""

    def endpoint(self, assigned: Assigned) -> Endpoint:
        """Return the address that clients use."""

    def open(self, assigned: Assigned, deadline: Deadline | None = None) -> AbstractContextManager[Endpoint]:
        """Yield an address that answers from here: the clients' address, or a tunnel if clients connect from elsewhere.

        With a deadline, wait for an address that may be new.

        Raises:
            NotReady: the address does not answer by the deadline; the message says why.
        """

    def ready(self, assigned: Assigned) -> bool:
        """Tell whether the server answers and reads its databases, within a second."""
