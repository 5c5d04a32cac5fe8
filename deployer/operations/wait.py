"""Waits until a server is ready or proven, and reports each change of a server's state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, Literal

from deployer.core.errors import NotReady
from deployer.core.remedies import Hint, Remedy
from deployer.operations.records import require_record
from deployer.operations.status import View, status
from deployer.targets import Deadline, Target

Condition = Literal["ready", "verified"]
_POLL_SECONDS: Final = 1.0
_STARTED_BY_A_COMMAND: Final = ("stopped", "crashed", "rebooted")


def holds(condition: Condition, view: View) -> bool:
    """Tell whether a server is ready, or is ready and has passed the proof since its start."""
    return view.state == "ready" and (condition == "ready" or view.proven)


def wait_for(target: Target, condition: Condition, deadline: Deadline, note: Callable[[str], None]) -> View:
    """Return the server's view when the condition holds. `note` hears each change of the state until then.

    Raises:
        NotFound: the server does not exist, or only its data is left.
        NotReady: the condition does not hold by the deadline.
    """
    for view in changes(target, deadline):
        require_record(target)
        if holds(condition, view):
            return view
        note(f"Server {view.name!r} is {view.state}: {view.detail}")
    hint: Hint = Remedy.GIVE_TIME
    if view.state in _STARTED_BY_A_COMMAND:
        hint = Remedy.START.of(server=target.ref)
    elif view.state == "ready":
        hint = Remedy.PROVE.of(server=target.ref)
    raise NotReady(f"server {view.name!r} is not {condition} in time: {view.state}, {view.detail}", hint=hint)


def changes(target: Target, deadline: Deadline | None = None) -> Iterator[View]:
    """Yield the server's view now, and after each change; without a deadline, until interrupted.

    Raises:
        NotFound: the server does not exist, or exists no longer.
    """
    last: View | None = None
    while True:
        view = status(target)
        if view != last:
            yield view
        last = view
        if deadline is not None and not deadline.left:
            return
        time.sleep(_POLL_SECONDS if deadline is None else min(_POLL_SECONDS, deadline.left))
