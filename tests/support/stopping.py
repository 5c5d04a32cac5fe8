"""Runs `deployer`, which stops itself (SIGSTOP) once it has printed a line; a stop from outside would come too late.

Run it as a program: the beginning of the line, then the arguments of `deployer`.
"""

from __future__ import annotations

import io
import os
import signal
import sys

from deployer.cli.app import main


class _Stopping(io.TextIOWrapper):
    line: str

    def write(self, text: str, /) -> int:
        written = super().write(text)
        if text.startswith(self.line):
            self.flush()
            os.killpg(0, signal.SIGSTOP)
        return written


if __name__ == "__main__":
    sys.stderr = _Stopping(sys.stderr.buffer, encoding="utf-8", line_buffering=True)
    sys.stderr.line = sys.argv.pop(1)
    main()
