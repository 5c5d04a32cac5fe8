"""What the place gave a server and nobody may guess again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pin:
    """An image by content: `digest` (`sha256:` and 64 hex digits) is what the reference `image` led to when proven."""

    image: str
    digest: str


@dataclass(frozen=True)
class Assigned:
    """Host name, ports and the like as the place assigned them; stored with the server.

    `host` is a host name without scheme or port, on the local target None for a server at the loopback; `exposure` is
    the kind of exposure that it was given for, and `own_host` tells that the spec asked for it. `ports` maps a
    workload's port name to a TCP port. `keys` changes with the keys of services that somebody else runs: a server that
    was started with others is restarted. `namespace` is the Kubernetes namespace and `profile` the name of the
    platform, both None on the local target. `pin` holds for pods as long as the spec asks for the image that it names.
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
