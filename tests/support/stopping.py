"""The command, which stops itself as soon as it has said a line: a stop from outside comes some steps too late.

To be run as a program: the line's beginning, then the command's own arguments.
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
