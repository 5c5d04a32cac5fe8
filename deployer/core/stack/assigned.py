"""The values that the target assigned to a server. They are stored and never guessed again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pin:
    """An image pinned by its content.

    When the server was proven, the reference `image` pointed to `digest` (`sha256:` and 64 hex digits).
    """

    image: str
    digest: str


@dataclass(frozen=True)
class Assigned:
    """Host name, ports and other values that the target assigned; stored with the server.

    - `host`: a host name without scheme or port; None for a local server on the loopback interface
    - `exposure`: the kind of exposure that the host was assigned for
    - `own_host`: whether the spec asked for the host
    - `ports`: the TCP port for each port name of the workload
    - `keys`: changes with the credentials for external services; a change restarts the server
    - `namespace`, `profile`: the Kubernetes namespace and the name of the platform; both None on the local target
    - `pin`: used for pods as long as the spec asks for the image in it
    """

    host: str | None = None
    namespace: str | None = None
    storage_class: str | None = None
    profile: str | None = None
    exposure: str | None = None
    own_host: bool = False
    keys: str | None = None
    pin: Pin | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
