"""Refuses requests that browsers send for pages of other sites; does not import deployer.

A browser adds its remembered login to every request to this server, whichever page causes the request. MLflow trusts
pages on every port of localhost (mlflow/server/security_utils.py `is_localhost_origin`, `LOCALHOST_ORIGIN_PATTERNS`),
though ports of one machine belong to different users. MLflow checks origins only below `/api/` and `/ajax-api/`.

This module accepts a page if the page's origin is the address of the request itself (scheme and Host header), so that
any tunnel works. It also accepts origins in MLFLOW_SERVER_CORS_ALLOWED_ORIGINS. It refuses every other request with an
`Origin`, whatever the method. If a page embeds a script or a picture, the browser sends no `Origin`. In that case, the
module refuses the request if `Sec-Fetch-Site` says that the page belongs to another site (W3C Fetch Metadata). Links to
this server still work.

MLflow itself checks the Host header. Programs that are not browsers send neither `Origin` nor `Sec-Fetch-Site`, so they
are not refused.
"""

from __future__ import annotations

import fnmatch
import urllib.parse
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

MESSAGE = b"Cross-origin request blocked: this page does not belong to this server\n"  # starts with MLflow's own text
PORTS = {"http": 80, "https": 443}
ANY = "*"
FOREIGN_SITES = (b"cross-site", b"same-site")  # the same site may be another port of the same host
NAVIGATE = b"navigate"
READS = ("GET", "HEAD")

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Origins:
    """ASGI middleware around all others; `allowed` has origins, or patterns with `*`, like MLflow's own list.

    `forwarded` says that requests come through one proxy, which sets X-Forwarded-Proto.
    """

    def __init__(self, app: App, allowed: Sequence[str] = (), *, forwarded: bool = False) -> None:
        self._app = app
        self._allowed = tuple(allowed)
        self._forwarded = forwarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origins = _values(scope, b"origin")
        own = _address(_scheme(scope, self._forwarded), _values(scope, b"host"))
        if is_foreign(scope["method"], origins, own, self._allowed, scope["headers"]):
            await _refuse(send)
            return
        if origins and own and parsed(origins[0]) == own:
            # otherwise MLflow would refuse an origin that is not in its own list
            scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"origin"]
        await self._app(scope, receive, send)


Address = tuple[str, str, int]  # scheme, host in lower case, port


def is_foreign(
    method: str,
    origins: Sequence[bytes],
    own: Address | None,
    allowed: Sequence[str],
    headers: Sequence[tuple[bytes, bytes]],
) -> bool:
    """Tell whether a request comes from a page that may not use this server, whose address is `own`."""
    if origins:
        origin = origins[0]
        return len(origins) > 1 or not (is_listed(origin, allowed) or (own is not None and parsed(origin) == own))
    told = dict(headers)
    if told.get(b"sec-fetch-site") not in FOREIGN_SITES or ANY in allowed:
        return False
    return method not in READS or told.get(b"sec-fetch-mode") != NAVIGATE


def is_listed(origin: bytes, allowed: Sequence[str]) -> bool:
    """Tell whether an origin is in the list, compared as in MLflow; `null` never is, because any page can have it."""
    text = origin.decode("latin-1")
    return text != "null" and any(fnmatch.fnmatchcase(text, one) if ANY in one else text == one for one in allowed)


def parsed(origin: bytes) -> Address | None:
    """Return scheme, host and port of an origin `SCHEME://HOST[:PORT]` (RFC 6454), or None if it is not one."""
    scheme, separator, host = origin.decode("latin-1").partition("://")
    return _address(scheme, [host.encode("latin-1")]) if separator else None


def _address(scheme: str, hosts: Sequence[bytes]) -> Address | None:
    if len(hosts) != 1 or scheme.lower() not in PORTS:
        return None
    text = hosts[0].decode("latin-1")
    try:
        split = urllib.parse.urlsplit(f"//{text}")
        port = split.port
    except ValueError:
        return None
    if split.netloc != text or not split.hostname or "@" in text:
        return None
    return scheme.lower(), split.hostname, PORTS[scheme.lower()] if port is None else port


def _scheme(scope: Scope, forwarded: bool) -> str:
    told = _values(scope, b"x-forwarded-proto")[-1:] if forwarded else []
    return b"".join(told).rpartition(b",")[2].strip().decode("latin-1") or str(scope.get("scheme", "http"))


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for found, value in scope["headers"] if found == name]


async def _refuse(send: Send) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(MESSAGE))]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": MESSAGE})
