"""Stay in the foreground with a server: until it is asked to end, or has ended by itself."""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from deployer.core.errors import Conflict, DeployerError, NotReady
from deployer.operations.remove import stop
from deployer.operations.steps import Progress
from deployer.targets import Deadline, Foreground, Live, Target

# Slurm kills 30 s after its first signal (KillWait), systemd after 90 (TimeoutStopSec)
STOP_SECONDS: Final = 25.0
_LAST_LINES: Final = 8


def stay(
    target: Target, foreground: Foreground, wake: int, line: Callable[[str], None], progress: Progress, *, whole: bool
) -> bool:
    """Stay until `wake` becomes readable, then stop the server: True. False where somebody else has stopped it.

    A server that another deployer starts anew meanwhile, with other settings, is stayed with. `line` is given what the
    server writes.

    Raises:
        NotReady: the server has ended by itself; with its last words.
    """
    while True:
        if foreground.stay(wake, line, whole=whole):
            end(target, progress)
            return True
        live = _settled(target, wake)
        if live is None:
            end(target, progress)
            return True
        if live.state == "stopped":
            return False
        if live.state != "running":
            last = "".join(f"\n  {text}" for text in target.runtime.logs(_LAST_LINES, follow=False))
            raise NotReady(
                f"the server has ended by itself: {target.runtime.explain(live)}{last}",
                hint="the same command starts it again",
            )
        progress.note("The server was started anew by another deployer; this command stays with it")
        whole = True


def end(target: Target, progress: Progress) -> None:
    """Stop the server, in the time that a batch system gives."""
    stop(target, Deadline.after(STOP_SECONDS), progress)


def end_quietly(target: Target, progress: Progress) -> None:
    """Stop the server where that can be done; what failed before is worth more."""
    with suppress(DeployerError):
        end(target, progress)


def _settled(target: Target, wake: int) -> Live | None:
    """Return what runs once no other deployer is at work on the server; None where `wake` becomes readable first."""
    while not select.select([wake], [], [], 0)[0]:
        with suppress(Conflict), target.store.lock("run", Deadline.after(0.5), lambda _: None):
            return target.runtime.observe()
    return None
