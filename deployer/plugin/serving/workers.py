"""Runs several processes that serve one socket, forked after everything is imported; does not import deployer.

uvicorn starts its own workers as new processes, which share no memory. Forked processes share what was imported.
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
    """Keep `count` processes running `work` until a signal ends them all; replace a process that ends by itself."""
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
            time.sleep(_SHORTEST_LIFE_SECONDS)  # no busy loop of restarts if each process ends at once
        if not ended:
            _fork(children, work)


def _fork(children: dict[int, float], work: Callable[[], None]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # no signal may come between the fork and the entry in `children`
    parent, pid = os.getpid(), os.fork()
    if pid:
        children[pid] = time.monotonic()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        return
    status = 1
    try:
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        # if only the parent is killed, the workers must stop serving, too
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        if os.getppid() == parent:
            work()
        status = 0
    finally:
        sys.stderr.flush()
        os._exit(status)
