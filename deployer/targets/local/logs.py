"""Reads the log of a workload."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_POLL_SECONDS: Final = 0.2
_LAST_LINES: Final = 8


def lines_of(path: Path, tail: int, *, follow: bool) -> Iterator[str]:
    """Yield the last `tail` lines of the log; with `follow`, also new lines until interrupted."""
    try:
        log = path.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    with log:
        yield from (line.rstrip("\n") for line in deque(log, maxlen=tail))
        while follow:
            if line := log.readline():
                yield line.rstrip("\n")
            else:
                if os.fstat(log.fileno()).st_size < log.tell():  # the server has cut the log (log_limits.py)
                    log.seek(0, os.SEEK_END)
                time.sleep(_POLL_SECONDS)


def last_words(path: Path) -> str:
    """Return the last lines of the log, indented for a message."""
    return "".join(f"\n  {line}" for line in lines_of(path, _LAST_LINES, follow=False)) or " without a word in its log"
