"""Why a server has ended, from the last lines of its log."""

from __future__ import annotations

import pytest

from deployer.core.status.last_words import REFUSAL, reason

STARTED = ("INFO:     Application startup complete.",)
TRACEBACK = ("Traceback (most recent call last):", '  File "launch.py", line 1, in <module>', "    main()")


@pytest.mark.parametrize(
    ("lines", "out_of_memory", "words"),
    [
        ((), False, "gives no reason"),
        (STARTED, False, "gives no reason"),
        (STARTED, True, "lack of memory"),
        ((*STARTED, "INFO:     Shutting down", "INFO:     Finished server process [12]", ""), False, "asked to end"),
        ((*TRACEBACK, "MemoryError"), False, "it failed: MemoryError"),
        (
            (*TRACEBACK, "sqlite3.OperationalError: disk is full"),
            False,
            "failed: sqlite3.OperationalError: disk is full",
        ),
        ((*TRACEBACK, "ValueError: of a request", *STARTED), False, "gives no reason"),
        ((f"{REFUSAL}the database has another schema",), False, "refused to start: the database has another schema"),
    ],
)
def test_a_reason_is_read_from_the_last_lines(lines: tuple[str, ...], out_of_memory: bool, words: str) -> None:
    said = reason(lines, out_of_memory=out_of_memory)
    assert words in said
    assert ("lack of memory" in said) == (out_of_memory or "gives no reason" in said)
