"""Evaluates RLIKE on SQLite outside the server's process, within limits; does not import deployer.

SQLite has no regular expressions. MLflow lets SQLite use Python's regular expressions (mlflow/store/db/utils.py
`create_sqlalchemy_engine`). They hold the interpreter's lock while they run. Some expressions take longer than a
lifetime, so one search would stop the whole server. Among MLflow's dependencies, no library supports all of Python's
expressions and can also be interrupted. So matcher.py evaluates them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from typing import Any

from . import matcher

MOST_SECONDS = 1.0  # of processor time for all expressions of one SQL statement
MOST_AT_ONCE = 8  # statements that wait for an answer, each in a thread of the server
SPECIAL = frozenset("\\.^$*+?{}[]()|")  # in an expression without these, every character stands for itself
_TOO_SLOW = (
    f"RLIKE: the regular expression needs more than {MOST_SECONDS:g} s on these rows, or too much memory. "
    "Take a simpler one (no repetition inside of a repetition), LIKE, or a filter that leaves fewer rows"
)
_TOO_MANY = "RLIKE: too many regular expressions are being evaluated, try again later"


class Refused(Exception):
    """A search that was refused or ended; `status` is the name of MLflow's error code."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class Matcher:
    """A matcher process (matcher.py), started when it is first needed, and again after it was ended."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._process: subprocess.Popen[bytes] | None = None

    def search(self, pattern: str, text: str, seconds: float) -> tuple[bool, float]:
        """Return whether `pattern` is found in `text`, and the seconds of processor time that this took.

        Raises:
            Refused: the search takes more than `seconds` or too much memory, or too many other searches wait.
        """
        if seconds <= 0:
            raise Refused(_TOO_SLOW, "INVALID_PARAMETER_VALUE")
        if not self._places.acquire(blocking=False):
            raise Refused(_TOO_MANY, "REQUEST_LIMIT_EXCEEDED")
        try:
            with self._turn:
                found, spent = self._ask(pattern.encode(), text.encode(), seconds)
        finally:
            self._places.release()
        if found == matcher.TOO_LARGE:
            raise Refused(_TOO_SLOW, "INVALID_PARAMETER_VALUE")
        return found == matcher.FOUND, spent

    def _ask(self, pattern: bytes, text: bytes, seconds: float) -> tuple[int, float]:
        if self._process is None:
            self._process = _started(matcher.__file__)
        source, sink, answer = self._process.stdin, self._process.stdout, b""
        if source is None or sink is None:
            raise AssertionError("started with two pipes")
        try:
            source.write(matcher.QUESTION.pack(seconds, len(pattern), len(text)) + pattern + text)
            source.flush()
            answer = sink.read(matcher.ANSWER.size)
        except BrokenPipeError:
            pass
        finally:
            if len(answer) < matcher.ANSWER.size:
                self._end()
        if len(answer) < matcher.ANSWER.size:
            raise Refused(_TOO_SLOW, "INVALID_PARAMETER_VALUE")
        found, spent = matcher.ANSWER.unpack(answer)
        return int(found), float(spent)

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()  # closes the pipes and waits


def _started(program: str) -> subprocess.Popen[bytes]:
    """Start matcher.py without the server's environment variables, because many of them are secrets."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", program],
        env=kept, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def install() -> None:
    """Make each SQLite engine that MLflow creates from now on evaluate RLIKE with one shared Matcher."""
    from mlflow.store.db import utils

    usual, shared = getattr(utils, "create_sqlalchemy_engine", None), Matcher()
    if usual is None:  # an unsupported MLflow version
        return

    def create_sqlalchemy_engine(db_uri: str) -> Any:
        engine = usual(db_uri)
        if engine.dialect.name == "sqlite":
            _replace(engine, shared)
        return engine

    utils.create_sqlalchemy_engine = create_sqlalchemy_engine


def _replace(engine: Any, shared: Matcher) -> None:
    """Replace MLflow's own function with `shared` on all connections of `engine`."""
    import sqlalchemy
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import ErrorCode

    of_thread = threading.local()  # SQLite calls the function in the thread that executes the statement

    def begin(*_: object) -> None:
        of_thread.left, of_thread.refused = MOST_SECONDS, None

    def regexp(pattern: str | None, text: str | None) -> bool:
        if pattern is None or text is None:
            return False
        if SPECIAL.isdisjoint(pattern):  # a plain text needs no matcher
            return pattern in text
        try:
            found, spent = shared.search(pattern, text, of_thread.left)
        except Refused as refused:
            of_thread.refused = refused  # SQLite does not pass exceptions on
            raise
        of_thread.left -= spent
        return found

    def explain(_context: object) -> Any:
        refused: Refused | None = getattr(of_thread, "refused", None)
        of_thread.refused = None
        return MlflowException(str(refused), ErrorCode.Value(refused.status)) if refused else None

    def register(connection: Any, _record: object) -> None:
        connection.create_function("regexp", 2, regexp)

    sqlalchemy.event.listen(engine, "connect", register)  # after MLflow's own listener, whose function is replaced
    sqlalchemy.event.listen(engine, "before_cursor_execute", begin)
    sqlalchemy.event.listen(engine, "handle_error", explain)
