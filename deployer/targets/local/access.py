"""Reaches the servers of this machine, and names the account for a login from elsewhere."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager

from deployer.core.address import url
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import server
from deployer.targets import Deadline
from deployer.tracking.client import Client, Endpoint, Unreachable


def user_name() -> str:
    """Return the name of the current user."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user id without an account, as in containers
        return os.environ.get("USER") or "USER"


class LocalAccess:
    """Reaches a server at the loopback address, or at its announced name."""

    def endpoint(self, assigned: Assigned) -> Endpoint:
        """Return the server's address."""
        return Endpoint(url(assigned.host, assigned.ports["http"]), direct=True)

    @contextmanager
    def open(self, assigned: Assigned, deadline: Deadline | None = None) -> Iterator[Endpoint]:  # part of the Protocol
        """Yield the server's address: clients run on this machine too."""
        yield self.endpoint(assigned)

    def ready(self, assigned: Assigned) -> bool:
        """Tell whether the server reads its databases, within a second."""
        client = Client(self.endpoint(assigned), seconds=1.0)
        try:
            return client.status(server.READY_PATH.lstrip("/"))[0] == 200
        except Unreachable:
            return False
        finally:
            client.close()
