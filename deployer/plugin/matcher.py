"""Searches texts for regular expressions, as a process of its own; the kernel ends a search that takes too long.

Python's `re` keeps the interpreter's lock: in the server's process, one search would stop all others.

Reads from standard input: QUESTION (seconds of processor time, bytes of the pattern, bytes of the text), pattern, text.
Writes to standard output: ANSWER (0 not found, 1 found, 2 too large; seconds of processor time).
"""

from __future__ import annotations

import re
import resource
import signal
import struct
import sys
import time

QUESTION = struct.Struct("=dQQ")
ANSWER = struct.Struct("=Bd")
NOT_FOUND, FOUND, TOO_LARGE = range(3)
MEMORY_BYTES = 256 << 20


def main() -> None:
    """Answer until nobody asks any more."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends this process
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(question := source.read(QUESTION.size)) == QUESTION.size:
        seconds, pattern, text = QUESTION.unpack(question)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # of processor time: a busy machine ends no search
        before = time.process_time()
        found = search(source.read(pattern), source.read(text))
        spent = time.process_time() - before
        signal.setitimer(signal.ITIMER_PROF, 0)
        sink.write(ANSWER.pack(found, spent))
        sink.flush()


def search(pattern: bytes, text: bytes) -> int:
    """Return what MLflow's own function finds (mlflow/store/db/utils.py `regexp`): no match of a wrong pattern."""
    try:
        return FOUND if re.search(pattern.decode(), text.decode()) else NOT_FOUND
    except re.error:
        return NOT_FOUND
    except (MemoryError, OverflowError, RecursionError):
        return TOO_LARGE


if __name__ == "__main__":
    main()
