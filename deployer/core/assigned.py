"""What the place gave a server and nobody may guess again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Assigned:
    """Host name, ports and the like as the place assigned them; stored with the server.

    `host` is a host name without scheme or port, and `exposure` the kind of exposure that it was given for. `ports`
    maps a workload's port name to a TCP port. `namespace` is the Kubernetes namespace and `profile` the name of the
    platform, both None on the local target.
    """

    host: str | None = None
    namespace: str | None = None
    storage_class: str | None = None
    profile: str | None = None
    exposure: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
