"""Keeps links in MLflow's web pages from running scripts; does not import deployer.

MLflow's pages turn text that members store into links, for example the tag `mlflow.source.name` of a run. They do not
check the scheme of such a link. A click on a link with the scheme `javascript` runs the member's script with the login
of the user who has clicked. Views of traces that a member defines can call `window.open` in the same way.

With this module, each page loads a small script before all others. The script stops such links and such calls. A
Content-Security-Policy would stop them, too. But it would also stop the scripts of HTML artifacts, which the pages show
in frames without access to the login.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .static_files import PREFIX, STATIC_PREFIX

NAME = "deployer/links.js"  # below the prefix, where no path needs a login
HEAD = b"<head>"
CONDITIONS = frozenset({b"if-none-match", b"if-modified-since", b"if-range", b"range"})
OF_THE_FILE = frozenset({b"etag", b"last-modified", b"accept-ranges", b"content-length"})
SCRIPT = b"""(() => {
  "use strict";
  const runs = (url) => {
    try {
      return new URL(url, document.baseURI).protocol === "javascript:";
    } catch {
      return false;
    }
  };
  const links = ["href", "xlink:href", "action", "formaction"];
  const stop = (event) => {
    const named = event.composedPath().concat(event.submitter ?? []).filter((node) => node instanceof Element);
    if (named.some((node) => links.some((name) => node.hasAttribute(name) && runs(node.getAttribute(name))))) {
      event.preventDefault();
      event.stopImmediatePropagation();
    }
  };
  for (const kind of ["click", "auxclick", "submit"]) {
    window.addEventListener(kind, stop, { capture: true });
  }
  const open = window.open;
  window.open = function (url, ...others) {
    return url !== undefined && runs(url) ? null : open.call(window, url, ...others);
  };
})();
"""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Pages:
    """ASGI application in front of the one that serves MLflow's pages; `root` is the path of the start page."""

    def __init__(self, app: App, root: str) -> None:
        self._app = app
        self._root = root
        self._prefix = root.rstrip("/") + PREFIX

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope["path"] if scope["type"] == "http" and scope["method"] == "GET" else ""
        if path == self._prefix + NAME:
            await _respond(send, 200, [(b"content-type", b"text/javascript"), (b"cache-control", b"no-cache")], SCRIPT)
        elif path == self._root:
            await self._page(PREFIX[1:] + NAME, scope, receive, send)
        elif path.startswith(self._prefix) and path.endswith(".html"):
            depth = path[len(self._prefix) :].count("/")
            await self._page("../" * depth + NAME, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _page(self, script: str, scope: Scope, receive: Receive, send: Send) -> None:
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
        page, kind = bytes(body), dict(start["headers"]).get(b"content-type", b"")
        if start["status"] != 200 or not kind.startswith(b"text/html"):
            await send(start)
            await send({"type": "http.response.body", "body": page})
            return
        kept = [(name, value) for name, value in start["headers"] if name not in OF_THE_FILE]
        before, head, after = page.partition(HEAD) if HEAD in page else (b"", b"", page)
        await _respond(send, 200, kept, before + head + b'<script src="%b"></script>' % script.encode() + after)


async def _respond(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def install(app: Any) -> None:
    """Put this application in front of the pages in MLflow's FastAPI application, if Flask is mounted as usual."""
    from starlette.routing import Mount

    mount = app.router.routes[-1]
    if isinstance(mount, Mount) and not mount.path:
        mount.app = Pages(mount.app, os.environ.get(STATIC_PREFIX, "").rstrip("/") + "/")
