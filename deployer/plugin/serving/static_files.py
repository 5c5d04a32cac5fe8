"""Sends the files of MLflow's web pages in small parts; does not import deployer.

The bridge between ASGI and WSGI (starlette/middleware/wsgi.py) reads a whole file from Flask before the client has read
any part of the file. The web pages need no login, so a stranger who requests the largest file and reads nothing would
hold 4 MB for each connection. This module passes the request to Flask as a HEAD request. It reads the file itself, part
by part, only as fast as the client receives it. The status and all headers come from Flask. Flask also sends every
response that has no file.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

PREFIX = "/static-files/"  # mlflow/server/__init__.py `serve_static_file`
STATIC_PREFIX = "_MLFLOW_STATIC_PREFIX"  # mlflow/server/handlers.py STATIC_PREFIX_ENV_VAR
PART = 1 << 16  # bytes
READERS = 2  # threads
OK, PARTIAL_CONTENT, NOT_MODIFIED = 200, 206, 304

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class StaticFiles:
    """ASGI application in front of Flask's. `find` returns the file for a path below the prefix, or None.

    `read` returns a part of a file, given the file, an offset and a length in bytes. The file is closed between two
    parts, so that a slow client holds only the descriptor of its connection.
    """

    def __init__(
        self,
        flask: App,
        prefix: str,
        find: Callable[[str], str | None],
        read: Callable[[str, int, int], Awaitable[bytes]],
    ) -> None:
        self._flask = flask
        self._prefix = prefix
        self._find = find
        self._read = read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = None
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(self._prefix):
            found = self._find(scope["path"][len(self._prefix) :])
        start = None if found is None else await self._head(scope)
        if found is None or start is None:
            await self._flask(scope, receive, send)
            return
        await send(start)
        if start["status"] == NOT_MODIFIED:
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._send_file(found, *_range(start), send)

    async def _head(self, scope: Scope) -> Message | None:
        """Return the start of Flask's response, or None if its status is not 200, 206 or 304."""
        start: Message | None = None

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def heard(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message

        await self._flask({**scope, "method": "HEAD"}, receive, heard)
        return start if start is not None and start["status"] in {OK, PARTIAL_CONTENT, NOT_MODIFIED} else None

    async def _send_file(self, path: str, offset: int, end: int, send: Send) -> None:
        if offset == end:
            await send({"type": "http.response.body", "body": b""})
        while offset < end:
            part = await self._read(path, offset, min(PART, end - offset))
            if not part:
                raise EOFError(f"{path} is shorter than it was")
            offset += len(part)
            await send({"type": "http.response.body", "body": part, "more_body": offset < end})


def install(app: Any) -> None:
    """Put this application in front of Flask in MLflow's FastAPI application, if Flask is mounted as usual."""
    import anyio
    from mlflow.server import app as flask
    from starlette.routing import Mount
    from werkzeug.security import safe_join

    mount = app.router.routes[-1]
    if not isinstance(mount, Mount) or mount.path or not flask.static_folder:
        return
    folder, limiter = flask.static_folder, anyio.CapacityLimiter(READERS)

    def find(path: str) -> str | None:
        found = safe_join(folder, path)  # like Flask's send_from_directory
        return found if found is not None and os.path.isfile(found) else None  # never raises

    async def read(path: str, offset: int, length: int) -> bytes:
        part: bytes = await anyio.to_thread.run_sync(read_part, path, offset, length, limiter=limiter)
        return part

    prefix = os.environ.get(STATIC_PREFIX, "").rstrip("/") + PREFIX
    mount.app = StaticFiles(mount.app, prefix, find, read)


def read_part(path: str, offset: int, length: int) -> bytes:
    """Return up to `length` bytes of a file from `offset` on."""
    with Path(path).open("rb") as file:
        file.seek(offset)
        return file.read(length)


def _range(start: Message) -> tuple[int, int]:
    """Return the offsets at which the part of a file in a response begins and ends.

    Werkzeug sends one range at most.
    """
    headers = dict(start["headers"])
    length = int(headers.get(b"content-length", b"0"))
    first = int(headers.get(b"content-range", b"bytes 0-").split()[1].partition(b"-")[0])
    return first, first + length
