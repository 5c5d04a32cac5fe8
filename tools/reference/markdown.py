"""Markdown as GitHub reads it (https://github.github.com/gfm/)."""

from __future__ import annotations

import re
from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table, followed by an empty line; nothing without rows.

    A column without any text is left out, except for the first one.
    """
    if not rows:
        return []
    used = [index for index in range(len(header)) if index == 0 or any(row[index] for row in rows)]
    lines = [[header[index] for index in used], ["---"] * len(used)]
    lines += [[row[index] for index in used] for row in rows]
    return [*("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines), ""]


def code(text: str) -> str:
    """Return `text` in the font of code."""
    return f"`{text}`"


def prose(text: str) -> str:
    """Return `text` so that nothing in it is taken for a tag of HTML; code in backticks stays as it is."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def anchor(heading: str) -> str:
    """Return the link target that GitHub gives a heading."""
    return "#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
