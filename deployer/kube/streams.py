"""What goes on for longer than one answer: logs, watches, commands in a pod, and tunnels to one."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

from kubernetes.client import CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import portforward, stream

from deployer.core.manifest import POD, Kind, Manifest
from deployer.kube.refusals import Call, ClusterUnreachable, refusal
from deployer.kube.session import Session

_BUFFER: Final = 1 << 16
_QUIET_SECONDS: Final = 3600.0


def lines_of_log(
    session: Session, pod: str, container: str, tail: int, *, follow: bool = False, previous: bool = False
) -> Iterator[str]:
    """Yield the last `tail` lines of a container's log; with `follow`, further ones until it ends.

    `previous` asks for the container before its last restart.
    """
    query = {"container": container, "tailLines": str(tail)}
    query |= {"follow": "true"} if follow else {}
    query |= {"previous": "true"} if previous else {}
    path = f"{POD.path(session.namespace, pod)}/log"
    call = Call("get", "pods/log", pod, session.namespace)
    with session.stream(path, call, query, seconds=_QUIET_SECONDS) as chunks:
        yield from _lines(chunks)


def changes(
    session: Session, kind: Kind, *, fields: str, resource_version: str, seconds: float
) -> Iterator[tuple[str, Manifest]]:
    """Yield what happens to the objects that fit from `resource_version` on, for so many seconds: type and object.

    Ends early where the server ends the watch or the version is too old: then read anew.
    """
    query = {
        "watch": "true",
        "fieldSelector": fields,
        "resourceVersion": resource_version,
        "timeoutSeconds": str(max(1, round(seconds))),
    }
    call = Call("watch", kind.resource, "", session.namespace)
    with session.stream(kind.path(session.namespace), call, query, seconds=seconds + 1) as chunks:
        for line in _lines(chunks):
            event = json.loads(line)
            if event["type"] == "ERROR":
                return
            yield event["type"], event["object"]


def _lines(chunks: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode("utf-8", "replace") for line in whole)
    if rest:
        yield rest.decode("utf-8", "replace")


def run(session: Session, pod: str, container: str, command: Sequence[str], stdin: str = "") -> tuple[int, str, str]:
    """Run a command in a container; return its exit code, standard output and standard error."""
    session.before_write()
    call = Call("create", "pods/exec", pod, session.namespace)
    with _explained(call):
        client: Any = stream(
            CoreV1Api(session.client).connect_get_namespaced_pod_exec,
            pod,
            session.namespace,
            container=container,
            command=list(command),
            stdin=bool(stdin),
            stdout=True,
            stderr=True,
            tty=False,
            _preload_content=False,
        )
        if stdin:
            client.write_stdin(stdin)
        client.run_forever()
        return client.returncode, client.read_stdout(0) or "", client.read_stderr(0) or ""


@contextlib.contextmanager
def tunnel(session: Session, pod: str, port: int) -> Iterator[int]:
    """Yield a port of the loopback whose connections end at a pod's port, as `kubectl port-forward` does.

    The tunnel runs through the API server, so no NetworkPolicy and no public address is in its way.
    """
    call = Call("create", "pods/portforward", pod, session.namespace)
    with _explained(call):
        _open(session, pod, port).close()  # refusals show here, not as a connection that breaks
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.5)
    over = threading.Event()
    accepting = threading.Thread(target=_accept, args=(session, pod, port, listener, over), daemon=True)
    accepting.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        over.set()
        accepting.join()
        listener.close()


def _open(session: Session, pod: str, port: int) -> Any:
    forward: Any = portforward(
        CoreV1Api(session.client).connect_get_namespaced_pod_portforward, pod, session.namespace, ports=str(port)
    )
    return forward


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
        far = _open(session, pod, port).socket(port)
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
        if error.status and error.status >= 300:
            raise refusal(error.status, _body(error), call) from error
        raise ClusterUnreachable(f"cannot {call}: {error.reason}", hint="try again") from error


def _body(error: ApiException) -> bytes:
    body = error.body or b""
    return body.encode() if isinstance(body, str) else body
