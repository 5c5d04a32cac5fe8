"""Several processes that serve one socket, forked from one that has imported everything; knows nothing of deployer.

uvicorn's own workers are started anew and share no memory; forked ones share what was imported.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable

ENDING = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1  # prctl(2)
_SHORTEST_LIFE_SECONDS = 1.0


def run(count: int, work: Callable[[], None]) -> None:
    """Keep `count` processes at `work` until a signal ends them all; one that ends by itself is replaced."""
    children: dict[int, float] = {}
    ended: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        ended.append(number)
        for pid in children:
            os.kill(pid, number)

    for number in ENDING:
        signal.signal(number, pass_on)
    for _ in range(count):
        _fork(children, work)
    while children:
        pid, status = os.waitpid(-1, 0)
        begun = children.pop(pid, None)
        if begun is None or ended:
            continue
        sys.stderr.write(f"deployer: worker {pid} has ended ({os.waitstatus_to_exitcode(status)}), starting another\n")
        if time.monotonic() - begun < _SHORTEST_LIFE_SECONDS:
            time.sleep(_SHORTEST_LIFE_SECONDS)  # not as fast as the machine can, should each end at once
        if not ended:
            _fork(children, work)


def _fork(children: dict[int, float], work: Callable[[], None]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # none may come between the child and its place in the list
    parent, pid = os.getpid(), os.fork()
    if pid:
        children[pid] = time.monotonic()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        return
    status = 1
    try:
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        # whoever kills the parent alone must not leave a server that nobody knows of
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        if os.getppid() == parent:
            work()
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)
