"""Destroys a cluster after the process that started it has ended, even if that process was killed.

A second process, the watcher, holds the read end of a pipe. When the process that started the cluster ends, the kernel
closes the write end; then the watcher destroys the cluster. As a program: python -m ... RUN_DIRECTORY, with the pipe
as standard input.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.testbed import testbed

INTERRUPTIONS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


@contextmanager
def ends_with_this_process(directory: Path, lock: IO[str] | None = None) -> Iterator[None]:
    """Destroy the cluster of a run directory at the end of the block or when this process ends.

    The watcher shares `lock`, a locked file: no other process can lock that file before the cluster is destroyed.
    """
    reader, writer = os.pipe()  # no child process inherits the write end
    with testbed.lock_file(directory, "watcher").open("w") as log:
        watcher = subprocess.Popen(
            [sys.executable, "-m", __name__, str(directory)],
            stdin=reader,
            stdout=log,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(testbed.CHECKOUT)},
            pass_fds=(lock.fileno(),) if lock else (),
            start_new_session=True,  # Ctrl-C and the end of the terminal reach the terminal's own session only
        )
    os.close(reader)
    try:
        yield
    finally:
        os.close(writer)
        watcher.wait()


def main(directory: Path) -> None:
    for number in INTERRUPTIONS:
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()  # nothing is ever written: `read` returns when the write end is closed
    found = testbed.find(directory)
    if found:
        found.down()
    with suppress(OSError):  # absent, or an empty folder that was made just before the process was killed
        directory.rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
