"""Quotes a value as one word of a language. The language reads back the same value and executes no part of it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable
from typing import Final

_CMD_SPECIAL: Final = re.compile(r'([\^&|<>()"!])')
_CMD_PLAIN: Final = re.compile(r"[A-Za-z0-9_:./\\@+-]+")
_SINGLE_QUOTES: Final = re.compile("(['\u2018\u2019\u201a\u201b])")  # PowerShell treats all of them as single quotes


class Unquotable(ValueError):
    """The language cannot represent this value; the message names the language and the reason."""


def shell(value: str) -> str:
    """Return `value` as a word of a POSIX shell (POSIX 2.2.2)."""
    return shlex.quote(value)


def shell_inside(value: str) -> str:
    """Return `value` for use inside double quotes of a POSIX shell, beside expansions (POSIX 2.2.3)."""
    return re.sub(r'([\\"$`])', r"\\\1", value)


def fish(value: str) -> str:
    """Return `value` as a word of fish. In single quotes, a backslash escapes itself and quotes (fishshell.com)."""
    plain = re.fullmatch(r"[A-Za-z0-9_@%+:,./=-]+", value)
    return value if plain else "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def powershell(value: str) -> str:
    """Return `value` as a word of PowerShell, in single quotes, with doubled quotes inside (about_Quoting_Rules)."""
    return "'" + _SINGLE_QUOTES.sub(r"\1\1", value) + "'"


def cmd_set(name: str, value: str) -> str:
    """Return the line of a batch file that sets a variable.

    Raises:
        Unquotable: the value has line ends or control characters.
    """
    _one_line("cmd", value)
    value = value.replace("%", "%%")
    if '"' in value:  # each quote starts or ends a quoted part: escape all special characters, quote nothing
        return f"set {name}=" + _CMD_SPECIAL.sub(r"^\1", value)
    return f'set "{name}={value}"'


def cmd_command(words: Iterable[str]) -> str:
    """Return a command to stand between the single quotes of `for /f` in a batch file.

    `cmd /c` runs the command. If the command begins with a quote, `cmd /c` removes its first and its last quote, so
    this function adds these two. They are escaped: they do not count as quotes when the batch file is parsed.

    Raises:
        Unquotable: a word has a quote, a percent sign, a line end or a control character.
    """
    line = " ".join(_cmd_word(word) for word in words)
    return f'^"{line}^"' if line.startswith('"') else line


def _cmd_word(word: str) -> str:
    _one_line("cmd", word)
    if '"' in word or "%" in word:
        raise Unquotable('cmd cannot pass on a word that has a " or a % in it')
    return word if _CMD_PLAIN.fullmatch(word) else f'"{word}"'


def python(value: str) -> str:
    """Return `value` as a Python literal in ASCII."""
    return ascii(value)


def yaml(value: str) -> str:
    """Return `value` as a double-quoted YAML scalar for a GitHub workflow; GitHub does not evaluate `${{ }}` in it."""
    return json.dumps(value, ensure_ascii=False).replace("${{", "${{ '${{' }}")


def dotenv(value: str) -> str:
    """Return `value` for a line `NAME=value` that python-dotenv and `docker run --env-file` read in the same way.

    python-dotenv strips comments and interprets quotes and `${NAME}`. docker takes the line literally. So the value
    stays as it is.

    Raises:
        Unquotable: the two programs would read different values.
    """
    _one_line("dotenv", value)
    if value != value.strip() or value[:1] in {'"', "'"} or "${" in value or re.search(r"\s#", value):
        raise Unquotable("a .env file cannot hold a value with '${', ' #', outer spaces or a quote at its beginning")
    return value


def csv_field(value: str) -> str:
    """Return `value` as a CSV field (RFC 4180), for docker options of the form `key=value,...`."""
    return '"' + value.replace('"', '""') + '"' if re.search(r'[",\r\n]', value) else value


def comment(text: str) -> str:
    """Return `text` for the rest of a comment line, with escapes for characters that could end the line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _one_line(language: str, value: str) -> None:
    if not value.isprintable():
        raise Unquotable(f"{language} cannot hold line ends and control characters in a value")
