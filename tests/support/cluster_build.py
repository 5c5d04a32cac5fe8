"""Builds the programs and images of the test cluster in a separate process, while other tests run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests import testbed

COMMAND = (sys.executable, "-m", testbed.__name__, "images")
CHECKOUT = Path(__file__).resolve().parents[2]


class ClusterBuild:
    """A build in a separate process group; if all results are in the cache, the build takes a second or two."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the list of images; standard error shows the progress
            start_new_session=True,  # for `end`
        )

    def running(self) -> bool:
        """Tell whether the build runs; after a failure, the fixture `cluster` builds again and reports the cause."""
        return self._process.poll() is None

    def end(self) -> None:
        """End the build and its compilers."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
