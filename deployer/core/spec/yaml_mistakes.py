"""Explains why a file is not YAML, in plain words; PyYAML's own messages are about its parser."""

from __future__ import annotations

import re
from typing import Final

import yaml

# PyYAML's message (scanner.py, parser.py, composer.py, constructor.py); our message; whether its line is the one where
# the unfinished part begins
_TABLE: Final = tuple(
    (re.compile(pattern), words, begins)
    for pattern, words, begins in (
        (r"character '\\t'", "has a tab: indent with blanks", False),
        (
            r"mapping values are not allowed",
            "has a ':' where no key can stand: check the indentation, or put the text in quotes",
            False,
        ),
        (r"scanning a quoted scalar.*end of stream", "the quote that begins here is not closed", True),
        (r"parsing a flow mapping", "the { that begins here is not closed, or lacks a comma", True),
        (r"parsing a flow sequence", "the [ that begins here is not closed, or lacks a comma", True),
        (r"could not find expected ':'", "is neither a key with a ':' nor the value of one", True),
        (r"\btag\b", "has a tag, which begins with !: leave the tag out, or put the text in quotes", False),
        (r"another document", "a second document begins here, and a spec file has one", False),
    )
)


def explained(error: yaml.MarkedYAMLError) -> str:
    """Return the mistake with its line, from 1 on. Quotes nothing of the file."""
    said = " ".join(filter(None, (error.context, error.problem)))
    words, begins = next(
        ((words, begins) for pattern, words, begins in _TABLE if pattern.search(said)), ("is not YAML", False)
    )
    mark = (error.context_mark if begins else None) or error.problem_mark or error.context_mark
    return f"line {mark.line + 1}: {words}" if mark else words
