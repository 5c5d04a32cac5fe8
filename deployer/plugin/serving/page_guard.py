"""Keeps MLflow's web pages from running scripts that members store; does not import deployer.

MLflow's pages show text and files that members have stored. A script in them would run with the login of the user who
views the page. MLflow does not check all of them:

- Text becomes a link without a check of its scheme, for example the tag `mlflow.source.name` of a run.
- Text becomes elements with event handlers, for example the style of a `.geojson` file.
- Text becomes the path of a property in a JavaScript object without a check for `__proto__` (prototype pollution), for
  example in a view of traces. All objects of the page then inherit the value. The library that draws tables runs this
  value as code.
- The identifier of an assessment becomes a part of a request's path.
- A page shows a file as an image or in a frame through a `blob:` URL. If a user opens this URL in a tab of its own, the
  file has the origin of the server.

With this module, each page has a Content-Security-Policy. It makes browsers run only the scripts that MLflow's pages
load. HTML files need their own scripts, for example to draw plots, and the policy would stop these scripts. This module
therefore makes MLflow's pages show an HTML file through a separate page in a frame (FRAME). This page has no access to
the login. In addition, each page contains a script that runs before all others (page_guard.js).
"""

from __future__ import annotations

import json
import os
import posixpath
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from .static_files import PREFIX, STATIC_PREFIX

PAGE = ".html"
HEAD, SCRIPT_TAG, BASE_TAG = b"<head>", b"<script", b"<base"
CONDITIONS = frozenset({b"if-none-match", b"if-modified-since", b"if-range", b"range"})
OF_THE_FILE = frozenset({b"etag", b"last-modified", b"accept-ranges", b"content-length", b"cache-control"})
GUARD = Path(__file__).with_name("page_guard.js")
# scripts that a script of the page loads are allowed, too; forms and plug-ins are not used by MLflow's pages
POLICY = (
    "script-src 'nonce-{nonce}' 'strict-dynamic'; worker-src 'self' blob:; object-src blob:; base-uri {base}; "
    "form-action 'none'"
)
FRAME = "html-file"  # this page writes the HTML file that the page around it sends
FRAME_POLICY = "sandbox allow-scripts"
FRAME_PAGE = b"""<!doctype html><script>
addEventListener("message", ({ data, source }) => {
  if (source === parent) {
    document.open();
    document.write(data);
    document.close();
  }
}, { once: true });
parent.postMessage(location.hash.slice(1), "*");
</script>
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
        self._guard = GUARD.read_bytes().replace(b"FRAME_ADDRESS", json.dumps(self._prefix + FRAME).encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path = scope["path"] if scope["type"] == "http" and scope["method"] == "GET" else ""
        if path == self._prefix + FRAME:
            headers = [(b"content-security-policy", FRAME_POLICY.encode()), (b"cache-control", b"no-cache")]
            await _send(send, 200, headers, FRAME_PAGE, b"text/html; charset=utf-8")
        elif path == self._root:
            await self._page(scope, receive, send)
        elif path.startswith(self._prefix):
            # a browser could take another spelling for the page's own folder, and find the page's scripts there
            if posixpath.normpath(path) != path.rstrip("/"):
                await _send(send, 404, [], b"There is no such page.\n", b"text/plain; charset=utf-8")
            else:
                await self._page(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the policy and the script to a page; send another file as it is. MLflow's pages have less than 2 KB."""
        if scope["path"] == self._root or scope["path"].rstrip("/").lower().endswith(PAGE):
            kept = [(name, value) for name, value in scope["headers"] if name not in CONDITIONS]
            scope = {**scope, "headers": kept}
        start: Message | None = None
        body = bytearray()

        async def collect(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_page(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body.extend(message.get("body", b""))

        await self._app(scope, receive, collect)
        if start is not None:
            nonce, base = secrets.token_urlsafe(16), "'self'" if BASE_TAG in body else "'none'"
            headers = [(name, value) for name, value in start["headers"] if name not in OF_THE_FILE]
            # a browser must not use a page again that an earlier release has sent
            headers += [
                (b"content-security-policy", POLICY.format(nonce=nonce, base=base).encode()),
                (b"cache-control", b"no-cache"),
            ]
            await _send(send, start["status"], headers, self._guarded(bytes(body), nonce.encode()))

    def _guarded(self, page: bytes, nonce: bytes) -> bytes:
        """Put the guard before the scripts of one of MLflow's pages, and give all scripts the nonce."""
        named = page.replace(SCRIPT_TAG, SCRIPT_TAG + b' nonce="' + nonce + b'"')
        before, head, after = named.partition(HEAD) if HEAD in named else (b"", b"", named)
        return before + head + SCRIPT_TAG + b' nonce="' + nonce + b'">' + self._guard + b"</script>" + after


def _is_page(start: Message) -> bool:
    kind: bytes = dict(start["headers"]).get(b"content-type", b"")
    return start["status"] == 200 and kind.startswith(b"text/html")


async def _send(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes, kind: bytes | None = None
) -> None:
    described = [(b"content-length", b"%d" % len(body)), *([(b"content-type", kind)] if kind else [])]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *described]})
    await send({"type": "http.response.body", "body": body})


def install(app: Any) -> None:
    """Put this application in front of the pages in MLflow's FastAPI application, if Flask is mounted as usual."""
    from starlette.routing import Mount

    mount = app.router.routes[-1]
    if isinstance(mount, Mount) and not mount.path:
        mount.app = Pages(mount.app, os.environ.get(STATIC_PREFIX, "").rstrip("/") + "/")
