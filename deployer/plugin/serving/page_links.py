"""Keeps MLflow's web pages from running scripts that members store; does not import deployer.

MLflow's pages turn text that members store into links, for example the tag `mlflow.source.name` of a run. They do not
check the scheme of such a link. A click on a link with the scheme `javascript` runs the member's script with the login
of the user who has clicked. Views of traces that a member defines can call `window.open` in the same way.

MLflow's pages also show members' files as images or in frames. Each file gets an address with the scheme `blob`, and a
frame has no access to the login. If a user opens such an address in a tab of its own, the file is a page of the server,
and its scripts run with the login of the user.

MLflow's pages also make elements from text of members, for example from the style of a `.geojson` file, and put the
identifiers of assessments into the paths of requests.

With this module, each page contains a script that runs before all others (page_guard.js):

- It stops such links and such calls, and makes such files harmless in a tab of their own.
- It removes event handlers, and the attribute `srcdoc` of frames, from text that becomes elements.
- It refuses requests whose path contains the segment `..`.

A Content-Security-Policy would stop the scripts of members, too. But it would also stop the scripts of HTML files in
frames, which show plots.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from .static_files import PREFIX, STATIC_PREFIX

HEAD = b"<head>"
PAGE = ".html"
CONDITIONS = frozenset({b"if-none-match", b"if-modified-since", b"if-range", b"range"})
OF_THE_FILE = frozenset({b"etag", b"last-modified", b"accept-ranges", b"content-length", b"cache-control"})
SCRIPT = Path(__file__).with_name("page_guard.js")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Pages:
    """ASGI application in front of the one that serves MLflow's pages; `root` is the path of the start page."""

    def __init__(self, app: App, root: str) -> None:
        self._app = app
        self._script = b"<script>" + SCRIPT.read_bytes() + b"</script>"
        self._root = root
        self._prefix = root.rstrip("/") + PREFIX

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope["path"] if scope["type"] == "http" and scope["method"] == "GET" else ""
        is_file = path.startswith(self._prefix) and path.rstrip("/").lower().endswith(PAGE)
        if path == self._root or is_file:
            await self._page(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the script to a page; MLflow's pages have less than 2 KB."""
        headers = [(name, value) for name, value in scope["headers"] if name not in CONDITIONS]
        start: Message = {}
        body = bytearray()

        async def collect(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                body.extend(message.get("body", b""))

        await self._app({**scope, "headers": headers}, receive, collect)
        page, kept = bytes(body), start["headers"]
        if start["status"] == 200 and dict(kept).get(b"content-type", b"").startswith(b"text/html"):
            before, head, after = page.partition(HEAD) if HEAD in page else (b"", b"", page)
            page = before + head + self._script + after
            # a browser must not use a page again that an earlier release has sent
            added = [(b"content-length", str(len(page)).encode()), (b"cache-control", b"no-cache")]
            kept = [(name, value) for name, value in kept if name not in OF_THE_FILE] + added
        await send({**start, "headers": kept})
        await send({"type": "http.response.body", "body": page})


def install(app: Any) -> None:
    """Put this application in front of the pages in MLflow's FastAPI application, if Flask is mounted as usual."""
    from starlette.routing import Mount

    mount = app.router.routes[-1]
    if isinstance(mount, Mount) and not mount.path:
        mount.app = Pages(mount.app, os.environ.get(STATIC_PREFIX, "").rstrip("/") + "/")
