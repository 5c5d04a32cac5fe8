"""What runs over a websocket through the API server: commands in a pod, and tunnels to one.

Apart from `streams`, because it loads a websocket client that most commands never need.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from kubernetes.client.exceptions import ApiException
from kubernetes.stream.ws_client import create_websocket, get_websocket_url, websocket_call
from websocket import ABNF, WebSocketException

from deployer.core.errors import Forbidden, NotReady, one_line
from deployer.core.manifest import POD
from deployer.kube.refusals import Call, ClusterUnreachable, refusal
from deployer.kube.session import READ_SECONDS, Session, pause

_BUFFER: Final = 1 << 16
_STDIN: Final = 0
# the channel of a forwarded port's bytes; the other one says why there are no more
_DATA: Final = 0
_T = TypeVar("_T")


def run(
    session: Session, pod: str, container: str, command: Sequence[str], *, seconds: float, stdin: str = ""
) -> tuple[int, str, str]:
    """Run a command in a container for at most so long; return its exit code, standard output and standard error.

    A command of which nobody knows whether it began is never repeated.

    Raises:
        NotReady: it has not ended in time; it may go on.
    """
    session.before_write()
    query = [("container", container), *(("command", word) for word in command), ("stdout", "true"), ("stderr", "true")]
    query += [("stdin", "true")] if stdin else []
    url, headers = _url(session, pod, "exec", query), _headers(session)
    with _explained(Call("create", "pods/exec", pod, session.namespace)):
        client = _within(
            READ_SECONDS,
            lambda: websocket_call(session.configuration, "GET", url, headers=headers, _preload_content=False),
        )
    try:
        if stdin:
            client.write_stdin(stdin)
            client.close_channel(_STDIN)  # a command that reads to the end would wait for it
        client.run_forever(timeout=seconds)
        if client.is_open():
            raise NotReady(f"{command[0]} in pod {pod} has not ended in {seconds:.0f} seconds")
        return client.returncode, client.read_stdout(0) or "", client.read_stderr(0) or ""
    finally:
        client.sock.shutdown()


@contextlib.contextmanager
def tunnel(session: Session, pod: str, port: int) -> Iterator[int]:
    """Yield a port of the loopback whose connections end at a pod's port, as `kubectl port-forward` does.

    The tunnel runs through the API server, so no NetworkPolicy and no public address is in its way.
    """
    _open(session, pod, port).shutdown()  # refusals show here, not as a connection that breaks
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.2)
    over = threading.Event()
    accepting = threading.Thread(target=_accept, args=(session, pod, port, listener, over), daemon=True)
    accepting.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        over.set()
        accepting.join()
        listener.close()


def _accept(session: Session, pod: str, port: int, listener: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        try:
            near, _ = listener.accept()
        except TimeoutError:
            continue
        threading.Thread(target=_pass_on, args=(session, pod, port, near), daemon=True).start()


def _pass_on(session: Session, pod: str, port: int, near: socket.socket) -> None:
    """Carry one connection: whatever ends it on one side ends it on the other."""
    with contextlib.suppress(ClusterUnreachable, OSError, WebSocketException), near:
        near.settimeout(None)
        far = _open(session, pod, port)
        try:
            _carry(near, far)
        finally:
            far.shutdown()


def _carry(near: socket.socket, far: Any) -> None:
    """Carry bytes until one side has ended; the protocol cannot say that only half of it has."""
    greeted: set[int] = set()
    while True:
        readable = [far.sock] if _pending(far.sock) else select.select([far.sock, near], [], [])[0]
        if far.sock in readable:
            code, frame = far.recv_data_frame(control_frame=True)
            if code == ABNF.OPCODE_CLOSE:
                return
            if code == ABNF.OPCODE_BINARY and frame.data:
                channel = frame.data[0]
                if channel not in greeted:
                    greeted.add(channel)  # begins with the port's number
                elif channel == _DATA:
                    near.sendall(frame.data[1:])
                else:
                    return
        if near in readable:
            data = near.recv(_BUFFER)
            if not data:
                return
            far.send_binary(bytes((_DATA,)) + data)


def _pending(sock: Any) -> int:
    """Return how many bytes TLS has read already, which `select` knows nothing of."""
    return int(sock.pending()) if isinstance(sock, ssl.SSLSocket) else 0


def _open(session: Session, pod: str, port: int) -> Any:
    """Return a websocket to a pod's port, after as many tries as patience allows: nothing has been sent yet."""
    url = get_websocket_url(_url(session, pod, "portforward", [("ports", str(port))]))
    over = time.monotonic() + session.patience
    for attempt in itertools.count():
        try:
            with _explained(Call("create", "pods/portforward", pod, session.namespace)):
                headers = _headers(session)
                return _within(READ_SECONDS, lambda: create_websocket(session.configuration, url, headers))  # noqa: B023  # called at once
        except (ClusterUnreachable, Forbidden) as error:
            if isinstance(error, ClusterUnreachable):
                session.broke()
            elif not session.settling:
                raise
            seconds = pause(attempt, None)
            if time.monotonic() + seconds > over:
                raise
            time.sleep(seconds)
    raise AssertionError("the count has no end")


def _within(seconds: float, attempt: Callable[[], _T]) -> _T:
    """Return what an attempt does that the client itself would wait for without end.

    Raises:
        TimeoutError: it is not over in time.
    """
    done: list[_T] = []
    failed: list[BaseException] = []

    def trying() -> None:
        try:
            done.append(attempt())
        except BaseException as error:  # noqa: BLE001  # raised again where it belongs
            failed.append(error)

    thread = threading.Thread(target=trying, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    return done[0]


def _url(session: Session, pod: str, subresource: str, query: Sequence[tuple[str, str]]) -> str:
    path = f"{POD.path(session.namespace, pod)}/{subresource}"
    return f"{session.configuration.host}{path}?{urllib.parse.urlencode(query)}"


def _headers(session: Session) -> dict[str, str]:
    token = session.authorization()
    return {"authorization": token} if token else {}


@contextlib.contextmanager
def _explained(call: Call) -> Iterator[None]:
    """Turn what a handshake raises into the errors of this package."""
    try:
        yield
    except (ApiException, OSError, WebSocketException) as error:
        # websocket_call hides the answer to the handshake in the exception that it was handling
        answer = error.__context__ if isinstance(error, ApiException) else error
        status, body = getattr(answer, "status_code", None), getattr(answer, "resp_body", None)
        if isinstance(status, int) and status >= 300:
            raise refusal(status, body if isinstance(body, bytes) else b"", call) from error
        what = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise ClusterUnreachable(f"cannot {call}: {one_line(str(what))}", hint="try again") from error
