"""Finds secrets in what was printed, logged or stored, however it was written. Pure, and never shows a secret.

What is searched loses its blanks, line ends and backslashes first, so that neither wrapping nor quoting by backslashes,
however often, hides anything. One pass finds any number of secrets: every n-th place of a text is looked up among the
six-letter parts of all that is sought, n so that no secret lies between two places.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

SHORTEST = 12  # shorter ones cannot be told from chance; MLflow's own limit for passwords
_PART, _LONGEST_STRIDE = 6, 16
_IGNORED = b" \t\r\n\\"

_ESCAPES: dict[str, Callable[[str], str]] = {
    "raw": str,
    "URL-escaped": lambda text: quote(text, safe=""),
    "URL-escaped but for slashes": lambda text: quote(text, safe="/"),
    "URL-escaped in a form": quote_plus,
    "JSON-escaped": lambda text: json.dumps(text)[1:-1],
    "JSON-escaped as Go does": lambda text: re.sub("[<>&]", lambda c: f"\\u{ord(c[0]):04x}", json.dumps(text)[1:-1]),
    "HTML-escaped": html.escape,
    "HTML-escaped in decimal": lambda text: html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "HTML-escaped but for quotes": lambda text: html.escape(text, quote=False),
    "quoted for a shell": lambda text: shlex.quote(text).removeprefix("'").removesuffix("'"),
    "quoted for YAML": lambda text: text.replace("'", "''"),
    "quoted for an ini file": lambda text: text.replace("%", "%%"),
    "as Python shows it": lambda text: repr(text)[1:-1],
    "as Python shows its bytes": lambda text: repr(text.encode())[2:-1],
}


@dataclass(frozen=True)
class Finding:
    """A secret in the wrong place: which, in which form, where, and at which byte (None: with something within)."""

    secret: str
    form: str
    where: str
    offset: int | None

    def __str__(self) -> str:
        place = "with line ends, blanks or backslashes within" if self.offset is None else f"at byte {self.offset}"
        return f"{self.secret} is in {self.where}, {self.form}, {place}"


def forms(value: str) -> dict[bytes, str]:
    """Return every way in which something may write `value`, and what that way is called."""
    written: dict[bytes, str] = {}
    for name, escape in _ESCAPES.items():
        escaped = escape(value)
        written.setdefault(escaped.encode(), name)
        if name.startswith("URL"):
            lower = re.sub("%[0-9A-F]{2}", lambda code: code[0].lower(), escaped)
            written.setdefault(lower.encode(), f"{name} in lower case")
    for before in range(3):
        for name, encode in (("base64", base64.b64encode), ("URL-safe base64", base64.urlsafe_b64encode)):
            written.setdefault(_within_base64(value.encode(), before, encode), f"{name} after {before} bytes")
    return written


def _within_base64(value: bytes, before: int, encode: Callable[[bytes], bytes]) -> bytes:
    """Return the letters that depend on nothing but `value` where so many bytes stand before it, modulo three."""
    first = -(-8 * before // 6)
    return encode(bytes(before) + value)[first : 8 * (before + len(value)) // 6]


class Scanner:
    """Looks for all of these secrets at once; what it tells is the name that goes with each."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._needles: dict[bytes, tuple[str, str, bytes]] = {}
        for value, name in names.items():
            for written, form in forms(value).items():
                needle = written.translate(None, _IGNORED)
                if len(needle) < SHORTEST:
                    raise ValueError(f"{name} is too short to be looked for")
                self._needles.setdefault(needle, (name, form, written))
        shortest = min(map(len, self._needles), default=SHORTEST)
        self._stride = min(_LONGEST_STRIDE, shortest - _PART + 1)
        self._parts: dict[bytes, list[tuple[bytes, int]]] = {}
        for needle in self._needles:
            for offset in range(self._stride):
                self._parts.setdefault(needle[offset : offset + _PART], []).append((needle, offset))

    def scan(self, content: bytes | bytearray | str, where: str) -> list[Finding]:
        """Return what is found in `content`, each form of each secret once."""
        data = content.encode(errors="surrogateescape") if isinstance(content, str) else bytes(content)
        found = sorted({self._needles[needle] for needle in self._found(data)})
        place = self.redact(where) if found else where  # a command line, for one, may name it
        return [
            Finding(name, form, place, offset if (offset := data.find(written)) >= 0 else None)
            for name, form, written in found
        ]

    def redact(self, text: str) -> str:
        """Return `text` without the secrets; where one has something within, nothing of the text."""
        for name, _, written in self._needles.values():
            text = text.replace(written.decode(), f"<{name}>")
        return "<all of it held a secret>" if any(self._found(text.encode(errors="surrogateescape"))) else text

    def _found(self, data: bytes) -> Iterator[bytes]:
        text, parts = data.translate(None, _IGNORED), self._parts
        for place in range(0, len(text) - _PART + 1, self._stride):
            if (part := text[place : place + _PART]) in parts:
                for needle, offset in parts[part]:
                    if offset <= place and text.startswith(needle, place - offset):
                        yield needle
