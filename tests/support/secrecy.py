"""Finds secrets in printed, logged or stored texts, in every usual encoding. Pure, and never shows a secret.

The search first removes blanks, line ends and backslashes from a text, so that neither wrapping nor repeated quoting
with backslashes hides a secret. One pass finds any number of secrets: it looks up every n-th place of the text in an
index of all six-letter parts of the secrets, with n small enough that no secret fits between two places.
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

SHORTEST = 12  # shorter texts could match by chance; also MLflow's limit for passwords
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
    """A secret in the wrong place: name, form, place, and byte (None: it contains ignored characters)."""

    secret: str
    form: str
    where: str
    offset: int | None

    def __str__(self) -> str:
        place = "with line ends, blanks or backslashes within" if self.offset is None else f"at byte {self.offset}"
        return f"{self.secret} is in {self.where}, {self.form}, {place}"


def forms(value: str) -> dict[bytes, str]:
    """Return every form in which a program may write `value`, with the form's name."""
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
    """Return the base64 letters that depend only on `value`, with `before` bytes in front of it (modulo three)."""
    first = -(-8 * before // 6)
    return encode(bytes(before) + value)[first : 8 * (before + len(value)) // 6]


class Scanner:
    """Searches for all secrets at once; `names` maps each secret to the name that a finding shows."""

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
        """Return the findings in `content`, each form of each secret once."""
        data = content.encode(errors="surrogateescape") if isinstance(content, str) else bytes(content)
        found = sorted({self._needles[needle] for needle in self._found(data)})
        place = self.redact(where) if found else where  # `where` may be a command line with the secret
        return [
            Finding(name, form, place, offset if (offset := data.find(written)) >= 0 else None)
            for name, form, written in found
        ]

    def redact(self, text: str) -> str:
        """Return `text` without the secrets, or nothing of it if a secret contains ignored characters."""
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
