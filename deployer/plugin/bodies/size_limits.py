"""Bounds request bodies, which MLflow keeps in memory as a whole; does not import deployer.

For a path that needs no login, this module passes an empty body to the application. Flask serves nearly all other
routes. The bridge between ASGI and WSGI (starlette/middleware/wsgi.py) reads the whole body before Flask checks the
login. Only artifact uploads are streamed (mlflow/server/artifact_router.py), so uploads have no bound.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .decoded import bounds

# path prefixes of uploads through the server (mlflow/server/artifact_router.py)
ARTIFACTS = ("/api/2.0/mlflow-artifacts/artifacts/", "/ajax-api/2.0/mlflow-artifacts/artifacts/")
MOST_UNCONFIRMED = 1 << 20  # bytes that may be read before the login is looked up
MOST_UNREAD = 1 << 20  # bytes; if more are left, the connection ends with the response (http_protocol.py MOST_DRAINED)
AUTHENTICATED = (
    "deployer.authenticated"  # key in a scope: true once the gate has accepted the request's login (http_protocol.py)
)
BAD_REQUEST, CONTENT_TOO_LARGE = 400, 413
CLOSE = (b"connection", b"close")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Refused(Exception):
    """A body that is not passed on, with an HTTP status and a message for a person."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def length(scope: Scope) -> float:
    """Return the length of a request's body in bytes: 0 without a body, infinity if the length is not declared."""
    declared: float = 0
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return math.inf
        if name == b"content-length":
            declared = int(value)  # only digits: h11 has validated the header
    return declared


def is_small(scope: Scope) -> bool:
    """Tell whether a body may be read before the login is looked up."""
    return length(scope) <= MOST_UNCONFIRMED


def is_upload(scope: Scope) -> bool:
    """Tell whether a request uploads an artifact."""
    return scope["method"] == "PUT" and str(scope["path"]).startswith(ARTIFACTS)


def streams_uploads(routes: Any) -> bool:
    """Tell whether FastAPI serves uploads and streams them, given the routes of an application."""
    wanted = f"{ARTIFACTS[0]}{{artifact_path:path}}"
    return any(getattr(route, "path", "") == wanted and "PUT" in (route.methods or ()) for route in routes)


class Capped:
    """ASGI middleware that refuses bodies of more than `most` bytes with 413.

    If a body's length is declared, the middleware refuses the body without reading it.

    `is_open` tells whether a path needs no login. For such a path, no body is read, and the application gets an empty
    body. If the server waited for the body, a stranger could hold a connection with one byte every few seconds.
    `streams` tells whether MLflow streams artifact uploads. If it does, no upload is limited. If it does not, uploads
    without an Authorization header are limited.
    `is_validated` tells whether a request's body is decoded on the event loop (decoded.py).
    """

    def __init__(
        self,
        app: App,
        most: int,
        is_open: Callable[[str], bool],
        *,
        streams: bool,
        is_validated: Callable[[Scope], bool] = lambda _: False,
    ) -> None:
        self._app = app
        self._most = most
        self._is_open = is_open
        self._streams = streams
        self._is_validated = is_validated

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = length(scope)
        if self._is_open(scope["path"]):
            await self._app(scope, without_body(receive) if declared else receive, send)
            return
        scope[AUTHENTICATED] = True  # the gate runs before this middleware
        if not declared:
            await self._app(scope, receive, send)
            return
        body = Body(receive, send, declared, *self._bounds(scope, declared))
        try:
            await self._app(scope, body.receive, body.send)
        except Exception:
            if body.refused is None:
                raise
        if body.refused and not body.answered:
            await _answer(body.refused, send)

    def _bounds(self, scope: Scope, declared: float) -> tuple[float, float]:
        """Return how many bytes and how many commas a body may have."""
        if is_upload(scope):
            has_login = any(name == b"authorization" for name, _ in scope["headers"])
            return math.inf if self._streams or has_login else self._most, math.inf
        most, most_commas = bounds(scope, declared, self._is_validated)
        return min(most, self._most), most_commas


def without_body(receive: Receive) -> Receive:
    """Return a `receive` that gives an empty body first, then discards the real body and waits for the disconnect."""
    was_asked = False

    async def receiving() -> Message:
        nonlocal was_asked
        if not was_asked:
            was_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        while (message := await receive())["type"] == "http.request":
            pass  # the application waits for the client to disconnect
        return message

    return receiving


class Body:
    """Passes the body of one request to the application; after a refusal, it drops the application's response.

    If an error is raised while a framework reads the body, the framework sends a response of its own. This class drops
    that response.
    """

    def __init__(
        self, receive: Receive, send: Send, declared: float, most: float, most_commas: float = math.inf
    ) -> None:
        self._receive = receive
        self._send = send
        self._declared = declared
        self._most = most
        self._most_commas = most_commas
        self._received = 0
        self._commas = 0
        self._complete = False
        self.refused: Refused | None = None
        self.answered = False

    async def receive(self) -> Message:
        """Return the next part of the body.

        Raises:
            Refused: the body is too large, has too many commas, or the client disconnected before its end.
        """
        if self.answered:
            return await self._receive()  # the application only waits for the client to disconnect
        if self._declared != math.inf and self._declared > self._most:
            raise self._too_large()
        message = await self._receive()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            if self._received > self._most:
                raise self._too_large()
            if self._most_commas != math.inf:
                self._commas += message.get("body", b"").count(b",")
                if self._commas > self._most_commas:
                    raise self._too_many()
        elif not self._complete:
            self.refused = Refused(BAD_REQUEST, "The body of this request did not arrive as a whole.")
            raise self.refused
        return message

    async def send(self, message: Message) -> None:
        """Pass on a part of the response, unless the body was refused before the response began."""
        if self.refused is None or self.answered:
            self.answered = True
            await self._send(message)

    def _too_large(self) -> Refused:
        text = f"The body of this request is larger than {int(self._most)} bytes, which is all that is accepted here."
        self.refused = Refused(CONTENT_TOO_LARGE, text)
        return self.refused

    def _too_many(self) -> Refused:
        text = f"The body of this request has more than {self._most_commas} commas, which is all that is accepted here."
        self.refused = Refused(CONTENT_TOO_LARGE, text)
        return self.refused


class Closing:
    """The outermost ASGI middleware; sends `Connection: close` if the connection ends with an unread body.

    A client that waits for "100 Continue" and gets a final response instead may send the body or not (RFC 9110,
    10.1.1). The connection ends after the response. Otherwise, the server could read the client's next request as if it
    were the body.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        declared = length(scope) if scope["type"] == "http" else 0
        withheld = bool(declared) and any(name == b"expect" for name, _ in scope["headers"])
        if declared <= MOST_UNREAD and not withheld:
            await self._app(scope, receive, send)
            return
        left = declared

        async def receiving() -> Message:
            nonlocal left, withheld
            withheld = False  # uvicorn sends "100 Continue" now
            message = await receive()
            left = left - len(message.get("body", b"")) if message.get("more_body", False) else 0
            return message

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and (withheld or left > MOST_UNREAD):
                message["headers"] = [*message.get("headers", ()), CLOSE]
            await send(message)

        await self._app(scope, receiving, sending)


async def _answer(refused: Refused, send: Send) -> None:
    body = f"{refused}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
