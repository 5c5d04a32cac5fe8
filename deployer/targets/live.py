"""The observed state of a server's programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deployer.core.stack import SERVER

LiveState = Literal["running", "stopped", "crashed", "rebooted", "elsewhere"]


@dataclass(frozen=True)
class Live:
    """The observed state of a server.

    `identity` identifies one start of the server; `fingerprint` is a hash of the settings of this start. `ready` is
    None if only the server itself can tell. `host` is the server's machine if that is another one.
    `workload` is the workload that the state and the detail are about.
    """

    state: LiveState
    detail: str = ""
    identity: str | None = None
    fingerprint: str | None = None
    ready: bool | None = None
    host: str | None = None
    workload: str = SERVER
