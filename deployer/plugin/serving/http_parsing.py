"""Bounds the time and memory that the head of a request costs; does not import deployer.

h11 (0.14 to 0.16), uvicorn's parser, has three weaknesses. It limits the size of a head only while the head is
incomplete, so a head that arrives at once has no limit. It does not bound the number of header fields. Two of its
regular expressions take quadratic time (h11/_abnf.py `header_field`, `chunk_header`): a line with 64,000 blanks keeps
the process busy for 20 s.

FastAPI also parses the cookies of each request (starlette/requests.py `cookie_parser`), with a function that takes
quadratic time in older versions of Python (CVE-2024-7592).
"""

from __future__ import annotations

import http.cookies
import re
from typing import Any

LARGEST_HEAD = 1 << 15  # bytes of a request line and its headers; nginx accepts as many
MOST_LINES = 129  # a request line and 128 header fields; each field takes about 400 bytes in addition to its text

_TOKEN = rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]+"
_BLANKS = rb"[ \t]*"
# h11's expression and its replacement: both match the same texts, with the same groups
LINEAR = {
    # the value begins after all leading blanks, so the matcher need not try shorter runs of blanks
    b"(?P<field_name>" + _TOKEN + rb"):[ \t]*(?P<field_value>([^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?)" + _BLANKS: (
        b"(?P<field_name>" + _TOKEN + rb"):[ \t]*(?![ \t])(?P<field_value>([^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?)" + _BLANKS
    ),
    # an extension includes the blanks after it
    rb"(?P<chunk_size>([0-9A-Fa-f]){1,20})(?P<chunk_ext>;.*)?[ \t]*\r\n": (
        rb"(?P<chunk_size>([0-9A-Fa-f]){1,20})(?:(?P<chunk_ext>;.*)|[ \t]*)\r\n"
    ),
}
_ESCAPED = re.compile(r"\\(?:([0-3][0-7][0-7])|(.))")
NAMES = ("header_field_re", "chunk_header_re")  # in h11/_readers.py, which looks them up for each line


def linear(expression: re.Pattern[bytes]) -> re.Pattern[bytes]:
    """Return an equivalent expression that takes linear time; an expression that is not h11's is returned as it is."""
    text = LINEAR.get(expression.pattern)
    return expression if text is None else re.compile(text, expression.flags)


def install() -> None:
    """Replace h11's regular expressions and Python's function that decodes cookie values."""
    from h11 import _readers

    for name in NAMES:
        setattr(_readers, name, linear(getattr(_readers, name)))

    cookies: Any = http.cookies
    cookies._unquote = unquoted


def unquoted(value: str | None) -> str | None:
    """Return a cookie's decoded value, as newer versions of Python decode it (http.cookies `_unquote`)."""
    if value is None or len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value
    return _ESCAPED.sub(lambda found: chr(int(found[1], 8)) if found[1] else found[2], value[1:-1])


def is_too_large(size: int, lines: int) -> bool:
    """Tell whether a head of so many bytes and lines is refused."""
    return size > LARGEST_HEAD or lines > MOST_LINES
