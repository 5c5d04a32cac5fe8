"""Websockets through the API server: commands in a pod, and tunnels to a pod.

Separate from `streams`, because this module loads a websocket client that most commands never need.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeVar

from kubernetes.stream.ws_client import create_websocket, get_websocket_url
from websocket import ABNF, WebSocketException

from deployer.core.errors import Forbidden, NotReady, one_line
from deployer.core.manifests.manifest import POD
from deployer.kube.refusals import Call, ClusterUnreachable, refusal
from deployer.kube.session import READ_SECONDS, Session, pause

_BUFFER: Final = 1 << 16
# the channels of a command; _CLOSE, from the fifth version of the protocol, ends another channel
_STDIN: Final = 0
_STDOUT: Final = 1
_STDERR: Final = 2
_STATUS: Final = 3
_CLOSE: Final = 255
# the channel for the data of a forwarded port; the other channel says why the data ends
_DATA: Final = 0
_T = TypeVar("_T")


def run(
    session: Session, pod: str, container: str, command: Sequence[str], *, seconds: float, stdin: str = ""
) -> tuple[int, str, str]:
    """Run a command in a container for at most `seconds`; return its exit code, standard output and standard error.

    The command is never repeated, because nobody knows whether a lost command has begun.

    Raises:
        NotReady: the command did not end in time; it may go on.
        ClusterUnreachable: the connection was lost; the command may have run or not.
    """
    session.before_write()
    query = [("container", container), *(("command", word) for word in command), ("stdout", "true"), ("stderr", "true")]
    query += [("stdin", "true")] if stdin else []
    over = time.monotonic() + seconds
    far = _connected(session, pod, "exec", query)
    said: dict[int, bytearray] = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
    try:
        if stdin:
            _send(far, _STDIN, stdin.encode())
            _send(far, _CLOSE, bytes((_STDIN,)))  # otherwise a command that reads to the end of its input would wait
        while True:
            left = over - time.monotonic()
            if not _pending(far.sock) and not select.select([far.sock], [], [], max(0.0, left))[0]:
                raise NotReady(f"{command[0]} in pod {pod} has not ended in {seconds:.0f} seconds")
            code, frame = far.recv_data_frame(control_frame=True)
            if code == ABNF.OPCODE_CLOSE:
                break
            if code == ABNF.OPCODE_BINARY and frame.data and frame.data[0] in said:
                said[frame.data[0]] += frame.data[1:]
    except (OSError, WebSocketException) as error:
        raise ClusterUnreachable(
            f"lost the connection to {command[0]} in pod {pod}: {one_line(str(error))}", hint="it may have run or not"
        ) from error
    finally:
        far.shutdown()
    out, err = (said[channel].decode("utf-8", "replace") for channel in (_STDOUT, _STDERR))
    return _exit_code(bytes(said[_STATUS])), out, err


def _exit_code(status: bytes) -> int:
    """Return the exit code from the Status that ends a command (k8s.io/client-go/tools/remotecommand)."""
    found = json.loads(status)
    if found.get("status") == "Success":
        return 0
    causes = (found.get("details") or {}).get("causes") or ()
    return next((int(cause["message"]) for cause in causes if cause.get("reason") == "ExitCode"), 1)


def _send(far: Any, channel: int, data: bytes) -> None:
    far.send_binary(bytes((channel,)) + data)


@contextlib.contextmanager
def tunnel(session: Session, pod: str, port: int) -> Iterator[int]:
    """Yield a port of the loopback that is forwarded to a port of a pod, like `kubectl port-forward`.

    The tunnel goes through the API server. It needs no public address, and no NetworkPolicy blocks it.
    """
    _open(session, pod, port).shutdown()  # a refusal shows here, not later as a broken connection
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
    """Forward one connection: the end of one side also ends the other."""
    with contextlib.suppress(ClusterUnreachable, OSError, WebSocketException), near:
        near.settimeout(None)
        far = _open(session, pod, port)
        try:
            _carry(near, far)
        finally:
            far.shutdown()


def _carry(near: socket.socket, far: Any) -> None:
    """Forward data until one side ends; the protocol has no half-closed connections."""
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
                    greeted.add(channel)  # the first frame of a channel only has the port number
                elif channel == _DATA:
                    near.sendall(frame.data[1:])
                else:
                    return
        if near in readable:
            data = near.recv(_BUFFER)
            if not data:
                return
            _send(far, _DATA, data)


def _pending(sock: Any) -> int:
    """Return how many bytes TLS has already read; `select` does not see them."""
    return int(sock.pending()) if isinstance(sock, ssl.SSLSocket) else 0


def _open(session: Session, pod: str, port: int) -> Any:
    """Return a websocket to a port of a pod. No data has been sent, so it retries for up to `patience` seconds."""
    over = time.monotonic() + session.patience
    for attempt in itertools.count():
        try:
            return _connected(session, pod, "portforward", [("ports", str(port))])
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
    """Return the result of `attempt`, for which the client itself would wait without a limit.

    Raises:
        TimeoutError: `attempt` did not end within `seconds`.
    """
    done: list[_T] = []
    failed: list[BaseException] = []

    def trying() -> None:
        try:
            done.append(attempt())
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            failed.append(error)

    thread = threading.Thread(target=trying, daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    return done[0]


def _connected(session: Session, pod: str, subresource: str, query: Sequence[tuple[str, str]]) -> Any:
    """Return a websocket to a subresource of a pod; failures are raised as errors of this package."""
    path = f"{POD.path(session.namespace, pod)}/{subresource}"
    url = get_websocket_url(f"{session.configuration.host}{path}?{urllib.parse.urlencode(query)}")
    token = session.authorization()
    headers = {"authorization": token} if token else {}
    with _explained(Call("create", f"pods/{subresource}", pod, session.namespace)):
        return _within(READ_SECONDS, lambda: create_websocket(session.configuration, url, headers))


@contextlib.contextmanager
def _explained(call: Call) -> Iterator[None]:
    """Convert the errors of a handshake into the errors of this package."""
    try:
        yield
    except (OSError, WebSocketException) as error:
        status, body = getattr(error, "status_code", None), getattr(error, "resp_body", None)
        if isinstance(status, int) and status >= 300:
            raise refusal(status, body if isinstance(body, bytes) else b"", call) from error
        what = getattr(error, "strerror", None) or str(error)
        raise ClusterUnreachable(f"cannot {call}: {one_line(what)}", hint="try again") from error
