"""The layout of `--help`: groups of commands and options, examples, and lines that fit any terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

# the headings of options in `--help`, in this order; options without one are below "Options"
OPTIONS: Final = "Options"
TARGET: Final = "Target"
SERVER: Final = "Server"
DATABASE: Final = "Database"
ARTIFACTS: Final = "Artifacts"
EXPOSURE: Final = "Exposure"
CLUSTER: Final = "Cluster"
THIS_MACHINE: Final = "This machine"
GROUPS: Final = (OPTIONS, TARGET, SERVER, DATABASE, ARTIFACTS, EXPOSURE, CLUSTER, THIS_MACHINE)

_MARGIN: Final = 2
_LEAST_COLUMNS: Final = 20
_LEAST_TEXT: Final = 24  # a narrower column of texts is hard to read
_LONGEST_NAME: Final = 30
_GAP: Final = 2


def columns() -> int:
    """Return the columns that help may use: those of the terminal, without a margin."""
    return max(shutil.get_terminal_size().columns - _MARGIN, _LEAST_COLUMNS)


def write_sections(formatter: Any, sections: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Write each section as a table of names and texts; all tables have the same columns.

    A text stands beside its name, or below it if the terminal is too narrow.
    """
    names = [len(name) for rows in sections.values() for name, _ in rows]
    first = min(max(names, default=0), _LONGEST_NAME) + _GAP
    for title, rows in sections.items():
        if rows:
            with formatter.section(title):
                for line in _lines(rows, formatter.width, formatter.current_indent, first):
                    formatter.write(f"{line}\n")


def _lines(rows: Iterable[tuple[str, str]], width: int, indent: int, first: int) -> Iterable[str]:
    narrow = width - indent - first < _LEAST_TEXT
    column = indent * 3 if narrow else indent + first
    for name, text in rows:
        texts = textwrap.wrap(text, width - column, break_long_words=False, break_on_hyphens=False)
        if narrow or len(name) + _GAP > first or not texts:
            yield " " * indent + name
        else:
            yield f"{'':{indent}}{name:<{first}}{texts.pop(0)}"
        yield from (" " * column + line for line in texts)


def write_examples(formatter: Any, examples: Sequence[tuple[str, str]]) -> None:
    """Write commands below a comment each; a command that is too long continues after a backslash."""
    if not examples:
        return
    with formatter.section("Examples"):
        indent = " " * formatter.current_indent
        for comment, command in examples:
            lines = textwrap.wrap(
                comment, formatter.width, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
            )
            lines += _continued(command, formatter.width, indent)
            formatter.write("".join(f"{line}\n" for line in lines))


def _continued(command: str, width: int, indent: str) -> list[str]:
    """Return the lines of a command, as a shell reads them."""
    lines = textwrap.wrap(
        command,
        width - len(" \\"),
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [*(f"{line} \\" for line in lines[:-1]), lines[-1]]
