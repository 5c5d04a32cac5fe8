"""What runs over a websocket through the API server: commands in a pod, and tunnels to one.

Apart from `streams`, because it loads a websocket client that most commands never need.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from kubernetes.client.exceptions import ApiException
from kubernetes.stream.ws_client import portforward_call, websocket_call

from deployer.core.manifest import POD
from deployer.kube.refusals import Call, ClusterUnreachable, refusal
from deployer.kube.session import READ_SECONDS, Session

_BUFFER: Final = 1 << 16


def run(session: Session, pod: str, container: str, command: Sequence[str], stdin: str = "") -> tuple[int, str, str]:
    """Run a command in a container; return its exit code, standard output and standard error.

    A command of which nobody knows whether it began is never repeated.
    """
    session.before_write()
    query = [("container", container), *(("command", word) for word in command), ("stdout", "true"), ("stderr", "true")]
    query += [("stdin", "true")] if stdin else []
    with _explained(Call("create", "pods/exec", pod, session.namespace)):
        client = websocket_call(
            session.configuration,
            "GET",
            _url(session, pod, "exec", query),
            headers=_headers(session),
            _preload_content=False,
        )
        with contextlib.closing(client):
            if stdin:
                client.write_stdin(stdin)
            client.run_forever()
            return client.returncode, client.read_stdout(0) or "", client.read_stderr(0) or ""


@contextlib.contextmanager
def tunnel(session: Session, pod: str, port: int) -> Iterator[int]:
    """Yield a port of the loopback whose connections end at a pod's port, as `kubectl port-forward` does.

    The tunnel runs through the API server, so no NetworkPolicy and no public address is in its way.
    """
    with _explained(Call("create", "pods/portforward", pod, session.namespace)):
        _try(lambda: _open(session, pod, port).close())  # refusals show here, not as a connection that breaks
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


def _try(attempt: Callable[[], object]) -> None:
    """Make an attempt that the client itself would wait for without end.

    Raises:
        ApiException: as the attempt does, and when it is not over in time.
    """
    failed: list[BaseException] = []

    def run_it() -> None:
        try:
            attempt()
        except BaseException as error:  # noqa: BLE001  # raised again where it belongs
            failed.append(error)

    trying = threading.Thread(target=run_it, daemon=True)
    trying.start()
    trying.join(READ_SECONDS)
    if trying.is_alive():
        raise ApiException(status=0, reason=f"no answer within {READ_SECONDS:.0f} seconds")
    if failed:
        raise failed[0]


def _open(session: Session, pod: str, port: int) -> Any:
    url = _url(session, pod, "portforward", [("ports", str(port))])
    return portforward_call(session.configuration, "GET", url, headers=_headers(session))


def _url(session: Session, pod: str, subresource: str, query: Sequence[tuple[str, str]]) -> str:
    path = f"{POD.path(session.namespace, pod)}/{subresource}"
    return f"{session.configuration.host}{path}?{urllib.parse.urlencode(query)}"


def _headers(session: Session) -> dict[str, str]:
    token = session.authorization()
    return {"authorization": token} if token else {}


def _accept(session: Session, pod: str, port: int, listener: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        try:
            near, _ = listener.accept()
        except TimeoutError:
            continue
        threading.Thread(target=_pass_on, args=(session, pod, port, near), daemon=True).start()


def _pass_on(session: Session, pod: str, port: int, near: socket.socket) -> None:
    with contextlib.suppress(ApiException, OSError), near:
        near.settimeout(None)
        forward = _open(session, pod, port)
        far = forward.socket(port)
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        back.join()
        far.close()


def _pump(source: Any, sink: Any) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_BUFFER):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def _explained(call: Call) -> Iterator[None]:
    """Turn what the client's websocket code raises into the errors of this package."""
    try:
        yield
    except ApiException as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        # the client hides the answer to the handshake in the exception that it was handling
        status = getattr(error.__context__, "status_code", None)
        body = getattr(error.__context__, "resp_body", None)
        if isinstance(status, int) and status >= 300:
            raise refusal(status, body if isinstance(body, bytes) else b"", call) from error
        raise ClusterUnreachable(f"cannot {call}: {error.reason}", hint="try again") from error
