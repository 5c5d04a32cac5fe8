"""One value as one word of a language: what was put in comes out again, whatever it is, and nothing of it is run."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from typing import Final

_CMD_SPECIAL: Final = re.compile(r'([\^&|<>()"!])')
_CMD_PLAIN: Final = re.compile(r"[A-Za-z0-9_:./\\@+-]+")
_SINGLE_QUOTES: Final = re.compile("(['\u2018\u2019\u201a\u201b])")  # PowerShell takes all of them for the first


class Unquotable(ValueError):
    """The language has no way to write this value; the message says which and why."""


def shell(value: str) -> str:
    """For sh and its kind (POSIX 2.2.2)."""
    return shlex.quote(value)


def shell_inside(value: str) -> str:
    """For the space between the double quotes of sh, beside what is to be expanded there (POSIX 2.2.3)."""
    return re.sub(r'([\\"$`])', r"\\\1", value)


def fish(value: str) -> str:
    """For fish: between single quotes a backslash escapes itself and the quote (fishshell.com, Quotes)."""
    plain = re.fullmatch(r"[A-Za-z0-9_@%+:,./=-]+", value)
    return value if plain else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def powershell(value: str) -> str:
    """For PowerShell: verbatim between single quotes, each of which is doubled (about_Quoting_Rules)."""
    return "'" + _SINGLE_QUOTES.sub(r"\1\1", value) + "'"


def cmd_set(name: str, value: str) -> str:
    """Return the line of a batch file that sets a variable."""
    _one_line("cmd", value)
    value = value.replace("%", "%%")
    if '"' in value:  # each quote would begin or end a quoted part: escape all, quote nothing
        return f"set {name}=" + _CMD_SPECIAL.sub(r"^\1", value)
    return f'set "{name}={value}"'


def cmd_command(words: Iterable[str]) -> str:
    """Return a command between the quotes of `for /f` in a batch file.

    `cmd /c`, which runs it, takes off a first and a last quote where it begins with one; escaped, those two do not
    count as quotes before that.
    """
    line = " ".join(_cmd_word(word) for word in words)
    return f'^"{line}^"' if line.startswith('"') else line


def _cmd_word(word: str) -> str:
    _one_line("cmd", word)
    if '"' in word or "%" in word:
        raise Unquotable('cmd cannot pass on a word that has a " or a % in it')
    return word if _CMD_PLAIN.fullmatch(word) else f'"{word}"'


def python(value: str) -> str:
    """For Python, in ASCII."""
    return ascii(value)


def yaml(value: str) -> str:
    """For a GitHub workflow: a double-quoted YAML scalar, in which no `${{ }}` of its own is evaluated."""
    return json.dumps(value, ensure_ascii=False).replace("${{", "${{ '${{' }}")


def dotenv(value: str) -> str:
    """For a file of `NAME=value` lines that python-dotenv and `docker run --env-file` read alike: as it is, or not.

    The first strips comments and takes quotes and `${NAME}` for its own, the second takes everything as it stands.
    """
    _one_line("dotenv", value)
    if value != value.strip() or value[:1] in {'"', "'"} or "${" in value or re.search(r"\s#", value):
        raise Unquotable("a .env file cannot hold a value with '${', ' #', outer spaces or a quote at its beginning")
    return value


def csv_field(value: str) -> str:
    """For an option of docker that takes `key=value,...`: a field of CSV (RFC 4180)."""
    return '"' + value.replace('"', '""') + '"' if re.search(r'[",\r\n]', value) else value


def comment(text: str) -> str:
    """For the rest of a comment line: nothing in it ends the line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _one_line(language: str, value: str) -> None:
    if not value.isprintable():
        raise Unquotable(f"{language} cannot hold line ends and control characters in a value")
