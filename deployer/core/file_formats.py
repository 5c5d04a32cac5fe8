"""Writes values into YAML and ini files; readers of these files get back the same values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final


class Unrepresentable(ValueError):
    """A value that its file format cannot represent."""


def ini_value(text: str) -> str:
    """Return `text` escaped so that ConfigParser, with its default interpolation, reads the same text back.

    Raises:
        Unrepresentable: `text` has control characters (a newline would begin another key) or outer blanks, which
            ConfigParser strips.
    """
    if text != text.strip() or text.splitlines() not in ([], [text]) or any(ord(c) < 32 for c in text):
        raise Unrepresentable("the value has a line break or outer blanks, which an ini file cannot hold")
    return text.replace("%", "%%")


# Characters that YAML 1.1 or 1.2 readers refuse or take for a line break. json.dumps escapes ASCII control characters
# itself. It must not escape the rest: it would write characters beyond U+FFFF as surrogate pairs, which YAML does not
# join.
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f]")  # all except the newline
# a key that YAML does not read as a boolean or as null
_PLAIN_KEY: Final = re.compile("(?!(?:y|n|yes|no|on|off|true|false|null)$)[a-z][a-z0-9._/-]*", re.IGNORECASE)


def yaml_value(value: object) -> str:
    """Return `value` as JSON that any YAML reader reads as the same value.

    `value` must not contain floats: YAML 1.1 and JSON write them differently.

    Raises:
        Unrepresentable: `value` itself is a float.
    """
    if isinstance(value, float):
        raise Unrepresentable("a fraction is written differently in JSON and YAML 1.1")
    text = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def yaml_block(text: str, indent: int) -> str:
    """Return `text` as a literal block, which people can read, or as JSON if a block would not preserve the text."""
    plain = text.endswith("\n") and not text.endswith("\n\n") and not text.startswith((" ", "\n"))
    if not plain or _CONTROL.search(text) or _UNPRINTABLE.search(text):
        return yaml_value(text)
    return "|\n" + "".join(f"{' ' * indent if line else ''}{line}\n" for line in text[:-1].split("\n")).rstrip("\n")


def yaml_lines(value: Any, indent: int) -> Iterator[str]:
    """Yield the YAML lines of a mapping or list that is not empty."""
    if isinstance(value, Mapping):
        heads = [(f"{key if _PLAIN_KEY.fullmatch(key) else yaml_value(key)}:", inner) for key, inner in value.items()]
    else:
        heads = [("-", inner) for inner in value]
    for head, inner in heads:
        lead = " " * indent + head
        if isinstance(inner, str):
            yield f"{lead} {yaml_block(inner, indent + 2) if chr(10) in inner else yaml_value(inner)}"
        elif not isinstance(inner, Mapping | list) or not inner:
            yield f"{lead} {yaml_value(inner)}"
        else:
            lines = yaml_lines(inner, indent + 2)
            # an item begins beside its dash, a nested value below its key
            yield lead if head != "-" else f"{lead} {next(lines).lstrip()}"
            yield from lines
