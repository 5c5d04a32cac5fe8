"""Searches texts for regular expressions in a process of its own; the kernel ends a search that takes too long.

Python's `re` holds the interpreter's lock. In the server's process, one search would stop all other threads.

Standard input: QUESTION (seconds of processor time, bytes of the pattern, bytes of the text), pattern, text.
Standard output: ANSWER (0 not found, 1 found, 2 too large; seconds of processor time).
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
    """Answer questions until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # the signal ends this process
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while len(question := source.read(QUESTION.size)) == QUESTION.size:
        seconds, pattern, text = QUESTION.unpack(question)
        signal.setitimer(signal.ITIMER_PROF, seconds)  # processor time: a busy machine does not end a search
        before = time.process_time()
        found = search(source.read(pattern), source.read(text))
        spent = time.process_time() - before
        signal.setitimer(signal.ITIMER_PROF, 0)
        sink.write(ANSWER.pack(found, spent))
        sink.flush()


def search(pattern: bytes, text: bytes) -> int:
    """Search as MLflow's own function does (mlflow/store/db/utils.py `regexp`): an invalid pattern never matches."""
    try:
        return FOUND if re.search(pattern.decode(), text.decode()) else NOT_FOUND
    except re.error:
        return NOT_FOUND
    except (MemoryError, OverflowError, RecursionError):
        return TOO_LARGE


if __name__ == "__main__":
    main()
