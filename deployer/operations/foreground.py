"""Run a server in the foreground: until the user ends the command, or the server ends by itself."""

from __future__ import annotations

import select
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from deployer.core.errors import Conflict, DeployerError, NotReady
from deployer.operations.remove import stop
from deployer.operations.steps import Progress
from deployer.targets import Deadline, Foreground, Live, Target

# Slurm kills a job 30 s after its first signal (KillWait), systemd after 90 s (TimeoutStopSec)
STOP_SECONDS: Final = 25.0
_LAST_LINES: Final = 8


def stay(
    target: Target, foreground: Foreground, wake: int, line: Callable[[str], None], progress: Progress, *, whole: bool
) -> bool:
    """Follow the server until `wake` becomes readable, then stop the server and return True.

    Return False if another command stopped the server. If another deployer restarts the server, for example with other
    settings, follow the new process. `line` receives the server's output line by line.

    Raises:
        NotReady: the server ended by itself; the message contains the last lines of its log.
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
            last = "".join(f"\n  {text}" for text in target.runtime.logs(live.workload, _LAST_LINES, follow=False))
            raise NotReady(
                f"the server has ended by itself: {target.runtime.explain(live)}{last}",
                hint="the same command starts it again",
            )
        progress.note("The server was started anew by another deployer; this command stays with it")
        whole = True


def end(target: Target, progress: Progress) -> None:
    """Stop the server within STOP_SECONDS, before a batch system kills the job."""
    stop(target, Deadline.after(STOP_SECONDS), progress)


def end_quietly(target: Target, progress: Progress) -> None:
    """Stop the server if possible, and ignore errors: the caller already reports an earlier one."""
    with suppress(DeployerError):
        end(target, progress)


def _settled(target: Target, wake: int) -> Live | None:
    """Return the server's state once no other deployer holds the lock; None if `wake` becomes readable first."""
    while not select.select([wake], [], [], 0)[0]:
        with suppress(Conflict), target.store.lock("run", Deadline.after(0.5), lambda _: None):
            return target.runtime.observe()
    return None
