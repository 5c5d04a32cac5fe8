"""Writes the access log: one line on standard output for each request, in the Common Log Format."""

from __future__ import annotations

import sys
import time
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import quote


def write_line(scope: MutableMapping[str, Any], address: str, username: str, status: int, seconds: float) -> None:
    """Write the line of one request, with the milliseconds that the response took.

    The line has no query, because what users search for is private. Special characters in a name are percent-encoded.
    """
    who, path = quote(username, safe="@.+-_"), quote(scope["path"], safe="/@:+=,;~!*'()")
    now = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime())
    line = f'{quote(address, safe=":")} - {who} [{now}] "{scope["method"]} {path}" {status} - {seconds * 1000:.0f}\n'
    sys.stdout.write(line)
