"""Gives uvicorn's HTTP/1.1 connections deadlines and a safe way to close; does not import deployer.

uvicorn (0.30 to 0.54, uvicorn/protocols/http/h11_impl.py) has these weaknesses:

- It waits for ever for the rest of a request.
- After a response, it reads the rest of the request without any limit.
- It closes connections with unread data, so that the client may lose the response (RFC 9112, 9.6).
- It does not notice that a client disconnects while nothing is read from the connection.
- It keeps the head and the unread body of an answered request until the next request.
"""

from __future__ import annotations

import select
import sys
from typing import Any, Protocol

import h11
from h11._receivebuffer import ReceiveBuffer
from uvicorn.protocols.http.h11_impl import H11Protocol

from .http_parsing import LARGEST_HEAD, MOST_LINES, is_too_large

MOST_DRAINED = 1 << 20  # bytes of a body that are read after the response
LINGER_SECONDS = 5.0  # for a client to read the last response while it still sends
OVERFLOW_SECONDS = 1.0  # the same, once the client has sent more than MOST_DRAINED
LEFT = "deployer.left"  # key in a request's state: a future that is done once the connection is lost
AUTHENTICATED = "deployer.authenticated"  # key in a request's scope (bodies/size_limits.py)
ENDED = getattr(select, "POLLRDHUP", 0)  # Linux: the client has sent its last byte, even if that byte was not read
# bytes; asyncio's 256 KiB would be held for each connection that waits for its login check
RECEIVED_AT_ONCE, RECEIVED_AT_ONCE_AUTHENTICATED = 1 << 14, 1 << 16
MOST_WAITING = 1 << 14  # bytes of a body that are held until the login is accepted or the application reads
LIGHT = 1 << 13  # bytes of a head and a body that any connection may hold (connections.py MOST_HOLDING)
TOO_LARGE = 431  # RFC 6585, 5
HEAD_TOO_LARGE = (
    f"A request may have {LARGEST_HEAD} bytes of headers, in {MOST_LINES - 1} fields. Send fewer or shorter ones."
)


class Arrived(ReceiveBuffer):  # type: ignore[misc]  # h11 is installed only for the server
    """The received bytes that are not parsed yet. A complete head has the same bounds as an incomplete one."""

    head = 0  # bytes of the last head

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Return the lines of a head or a trailer, or None until all of it has arrived."""
        arrived = len(self)
        lines: list[bytearray] | None = super().maybe_extract_lines()
        if lines is None:
            return None
        self.head = arrived - len(self)
        if is_too_large(self.head, len(lines)):
            raise h11.RemoteProtocolError("too many headers, or too long ones", error_status_hint=TOO_LARGE)
        return lines


class LingeringTransport:
    """A transport whose `close` waits if the client still sends, so that the client can read the response."""

    def __init__(self, transport: Any, close: Any) -> None:
        self._transport = transport
        self.close = close
        self.lingers = False
        self.written = 0  # bytes

    def write(self, data: bytes) -> None:
        """Send data, and count its bytes."""
        self.written += len(data)
        self._transport.write(data)

    def is_closing(self) -> bool:
        """Tell whether nothing can be sent any more."""
        return self.lingers or bool(self._transport.is_closing())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Register(Protocol):
    """The part of `connections.Register` that is used here."""

    def add(self, connection: Any) -> None:
        """Add a new connection."""

    def discard(self, connection: Any) -> None:
        """Remove a closed connection."""

    def hold(self, connection: Any) -> None:
        """Record a connection that holds much memory."""

    def release(self, connection: Any) -> None:
        """Record that a connection no longer holds much memory."""


class Connection(H11Protocol):  # type: ignore[misc]  # uvicorn is installed only for the server
    """One connection. `waits` uses the names in `connections.LIMITS`."""

    def __init__(self, register: Register, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._arrived = self.conn._receive_buffer = Arrived()
        self._register = register
        self._real: Any = None
        self._since = self.loop.time()
        self._in_head = True
        self._drained = 0
        self._expects = False  # the client sends its body only after "100 Continue"
        self._unsent = (0, 0.0)  # bytes in the write buffer, and since when
        self._begun, self._moved = self._since, 0  # start of the last request, and bytes of it and its response
        self._left = self.loop.create_future()
        self.app_state: dict[str, Any] = {**self.app_state, LEFT: self._left}  # each request gets a copy

    def connection_made(self, transport: Any) -> None:
        """Start to wait for the head of the first request."""
        super().connection_made(transport)
        self._real = transport
        transport.max_size = RECEIVED_AT_ONCE  # of recv(), asyncio.selector_events
        self.transport = LingeringTransport(transport, self._close)
        self._register.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from the register, and break its reference cycle.

        Objects that refer to each other would wait for a rare run of Python's garbage collector.
        """
        self._register.discard(self)
        if not self._left.done():
            self._left.set_result(None)
        super().connection_lost(exc)
        self.transport.close = self._real.close

    def data_received(self, data: bytes) -> None:
        """Pass data to uvicorn, or only count it while the connection closes."""
        if self.transport.lingers:
            self._drain(len(data))
            return
        if self._is_answered() and self.conn.their_state is h11.SEND_BODY:
            self._drained += len(data)
            if self._drained > MOST_DRAINED:
                self.transport.close()
                return
        elif not self._in_head:
            self._since = self.loop.time()
            if self._is_authenticated():
                self._real.max_size = RECEIVED_AT_ONCE_AUTHENTICATED
        before = self.cycle
        self._moved += len(data)
        super().data_received(data)
        self._count_anew(before)
        self._in_head = self._has_partial_head()
        self._expects = bool(self.conn.they_are_waiting_for_100_continue)
        self._limit_memory()

    def on_response_complete(self) -> None:
        """Start to wait for the next request, or for the rest of this request's body; free the answered request."""
        self._since, self._drained = self.loop.time(), 0
        self._real.max_size = RECEIVED_AT_ONCE
        before = self.cycle
        before.scope = {key: before.scope[key] for key in (AUTHENTICATED,) if key in before.scope}
        before.body = bytearray()
        self.scope = self.headers = None  # uvicorn sets them with the next head
        super().on_response_complete()
        self._count_anew(before)
        self._in_head = self._has_partial_head()
        self._register.release(self)
        self._limit_memory()

    def send_400_response(self, msg: str) -> None:
        """Respond to invalid HTTP, unless another response has begun."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.transport.close()
        elif getattr(sys.exc_info()[1], "error_status_hint", 400) == TOO_LARGE:
            self._refuse_head()
        else:
            super().send_400_response(msg)

    def waits(self, now: float) -> tuple[str, float]:
        """Return what the connection waits for from its client, and since when."""
        unsent = self._real.get_write_buffer_size()
        if unsent:
            if unsent != self._unsent[0]:
                self._unsent = unsent, now
            return "reading", self._unsent[1]
        self._unsent = 0, now
        if self.transport.is_closing():
            return "closing", self._since
        if self._in_head:
            return "head", self._since
        if self._is_answered():
            return ("answered body" if self.conn.their_state is h11.SEND_BODY else "idle"), self._since
        cycle = self.cycle
        if not cycle.more_body or cycle.response_started or self.flow.read_paused or cycle.waiting_for_100_continue:
            self._since = now
            return "nothing", now
        return "body", self._since

    def progress(self, now: float) -> tuple[bool, float]:
        """Return whether the request's login was accepted, and the bytes a second since the request began."""
        moved = self._moved + self.transport.written - self._real.get_write_buffer_size()
        return self._is_authenticated(), (1 + max(0, moved)) / (1 + now - self._begun)

    def has_left(self) -> bool:
        """Tell whether the client has disconnected; False unless reading is paused and no login was accepted yet."""
        if not self.flow.read_paused or self._is_answered() or self.transport.is_closing() or self._is_authenticated():
            return False
        ended = select.poll()
        ended.register(self._real.get_extra_info("socket").fileno(), ENDED)  # POLLHUP and POLLERR come in any case
        return bool(ended.poll(0))

    def end(self) -> None:
        """Close the connection at once."""
        self._real.abort()

    def _is_answered(self) -> bool:
        return self.cycle is not None and bool(self.cycle.response_complete)

    def _count_anew(self, before: Any) -> None:
        if self.cycle is not before:
            self._begun, self._moved, self.transport.written = self.loop.time(), 0, 0

    def _is_authenticated(self) -> bool:
        return self.cycle is not None and bool(self.cycle.scope.get(AUTHENTICATED))

    def _limit_memory(self) -> None:
        """Limit the memory that the connection holds before its login is accepted.

        If the connection holds too much, the client must wait with the rest of its body. The register may also close an
        older connection.
        """
        is_asking = self.cycle is not None and not self.cycle.response_complete
        body = len(self.cycle.body) if is_asking else 0
        held = len(self._arrived) + body + (self._arrived.head if is_asking else 0)
        if held > LIGHT and not self._is_authenticated():
            self._register.hold(self)
            if body > MOST_WAITING:
                self.flow.pause_reading()  # until the application reads

    def _refuse_head(self) -> None:
        body = f"{HEAD_TOO_LARGE}\n".encode()
        headers = [
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        answer = h11.Response(status_code=TOO_LARGE, headers=headers, reason=b"Request Header Fields Too Large")
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    def _has_partial_head(self) -> bool:
        return self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])

    def _close(self) -> None:
        """Close the connection; if the client still sends, first give it time to read the response.

        If a connection is closed with unread data, TCP resets the connection, and the client's system may drop the
        response.
        """
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # the response can no longer be sent
            self.cycle.message_event.set()
        if self.conn.their_state not in {h11.SEND_BODY, h11.ERROR} or not self._real.can_write_eof():
            self._real.close()
            return
        self.transport.lingers = True
        self._since, self._drained = self.loop.time(), 0
        try:
            self._real.write_eof()
        except OSError:  # the client has disconnected
            self._real.abort()
            return
        self.flow.resume_reading()
        self.loop.call_later(LINGER_SECONDS, self._real.abort)

    def _drain(self, count: int) -> None:
        self._drained += count
        if (self._expects or self._drained > MOST_DRAINED) and not self.flow.read_paused:
            self.flow.pause_reading()
            self.loop.call_later(OVERFLOW_SECONDS, self._real.abort)
