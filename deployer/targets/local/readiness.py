"""Waits until a workload of this machine answers its probe."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from deployer.core.address import url
from deployer.core.stack import SERVER, Stack, Workload
from deployer.targets import Deadline
from deployer.tracking.client import Client, Endpoint, Unreachable

_POLL_SECONDS: Final = 0.05
_ANSWER_SECONDS: Final = 2.0


def address_of(workload: Workload, stack: Stack) -> Endpoint:
    """Return the address of the workload's probe: the server's own name, and the loopback for others."""
    host = stack.exposure.host if workload.name == SERVER else None
    return Endpoint(url(host, workload.port), direct=True)


def answers(workload: Workload, stack: Stack, ended: Callable[[], bool], deadline: Deadline) -> str | None:
    """Wait until the workload answers its probe; return None then, and why it does not if it has ended or time is over.

    The port listens before the process starts, so a request waits for the first answer instead of failing.
    """
    client = Client(address_of(workload, stack), seconds=_ANSWER_SECONDS)
    try:
        while True:
            try:
                status, _ = client.status(workload.probe.ready.lstrip("/"))
                if status == 200:
                    return None
                state = f"{workload.probe.ready} answers {status}"
            except Unreachable:
                state = "it does not answer yet"
            if ended() or not deadline.left:
                return state
            time.sleep(_POLL_SECONDS)
    finally:
        client.close()
