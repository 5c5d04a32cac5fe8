"""Bounds what one run of a server writes to its log; does not import deployer.

A stranger can cause any number of errors, and each may log a traceback. A repeated error is logged once a minute, with
a count. A log that is a file keeps its newest part. A log that is a pipe, as on a cluster, is limited by its reader.
"""

from __future__ import annotations

import fcntl
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

WINDOW_SECONDS = 60.0
DIFFERENT = 10  # messages from one line of code that are written in a window
LONGEST = 8192  # characters of a message; a traceback may have twice as many
MOST_BYTES = 16 << 20  # of a log that is a file; when it is cut, half of them remain
STANDARD = (1, 2)  # descriptors of standard output and standard error
_DECIDED = "deployer_decided"  # attribute of a record: the decision of the first of several handlers


@dataclass
class Source:
    """What one line of code has logged since `begun` (seconds on the clock)."""

    begun: float
    example: str
    level: int
    written: set[str] = field(default_factory=set)
    held_back: int = 0


class Repeats(logging.Filter):
    """Passes each warning or error once in a window, and at most `DIFFERENT` messages from one line of code."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._sources: dict[tuple[str, int, str], Source] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a record is written, and shorten the record if so."""
        decided = getattr(record, _DECIDED, None)
        if decided is None:
            decided = record.levelno < logging.WARNING or self._is_new(record)
            setattr(record, _DECIDED, decided)
            if decided:
                shorten(record)
        return bool(decided)

    def _is_new(self, record: logging.LogRecord) -> bool:
        origin = _origin(record)
        text = f"{_message(record).strip()}{f' ({origin})' if origin else ''}"[:LONGEST]
        key = (record.pathname, record.lineno, origin)
        with self._lock:
            source = self._sources.setdefault(key, Source(self._clock(), text, record.levelno))
            if text in source.written or len(source.written) >= DIFFERENT:
                source.held_back += 1
                return False
            source.written.add(text)
            return True

    def flush(self) -> None:
        """Log how often each error was repeated in a window that is over, and start the next window."""
        now = self._clock()
        with self._lock:
            over = [key for key, source in self._sources.items() if now - source.begun >= WINDOW_SECONDS]
            ended = [self._sources.pop(key) for key in over]
            for key, source in zip(over, ended, strict=True):
                if source.held_back:  # the next window holds the same messages back
                    self._sources[key] = Source(now, source.example, source.level, source.written)
        for source in ended:
            if source.held_back:
                text = "%d more in the last %.0f s like: %s"
                said = (source.held_back, now - source.begun, source.example)
                logging.getLogger("deployer").log(source.level, text, *said, extra={_DECIDED: True})


def _message(record: logging.LogRecord) -> str:
    """Return the message of a record; a wrong logging call must not end the request that made the call."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001  # any error of the formatting
        return str(record.msg)


def _origin(record: logging.LogRecord) -> str:
    """Return the type of a record's error and where it was raised.

    The place of the logging call tells nothing, because one line of code logs the errors of all requests.
    """
    kind, _, trace = record.exc_info or (None, None, None)
    if kind is None:
        return ""
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{kind.__name__}, {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace else kind.__name__


def shorten(record: logging.LogRecord) -> None:
    """Shorten a message or a traceback, because clients can make them as long as they like."""
    if len(message := _message(record)) > LONGEST:
        record.msg, record.args = f"{message[:LONGEST]}...", None
    if record.exc_info and not record.exc_text:
        text = logging.Formatter().formatException(record.exc_info)
        if len(text) > 2 * LONGEST:
            text = f"{text[:LONGEST]}\n...\n{text[-LONGEST:]}"
        record.exc_text = text  # formatters use this text instead of their own


def install(repeats: logging.Filter) -> None:
    """Add the filter to every handler of every logger; call this once all loggers are set up."""
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in list(logging.root.manager.loggerDict))]
    handlers = {handler for logger in loggers for handler in logger.handlers}
    if logging.lastResort is not None:
        handlers.add(logging.lastResort)
    for handler in handlers:
        handler.addFilter(repeats)


def keep_newest(descriptors: Iterable[int] = STANDARD, most: int = MOST_BYTES) -> None:
    """Keep only the newest part of each log that is a file, is open for appending, and is larger than `most` bytes."""
    for descriptor in descriptors:
        try:
            status = os.fstat(descriptor)
            appends = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
            if status.st_size > most and appends and stat.S_ISREG(status.st_mode):
                _cut(descriptor, most)
        except OSError:  # the file cannot be reopened, or the disk is full: the log stays as it is
            continue


def _cut(descriptor: int, most: int) -> None:
    with open(f"/proc/self/fd/{descriptor}", "r+b") as log:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another process of this server cuts the log
        size = os.fstat(log.fileno()).st_size
        if size <= most:
            return
        newest = os.pread(log.fileno(), most // 2, size - most // 2)
        log.truncate(0)
        os.write(descriptor, newest[newest.find(b"\n") + 1 :])
