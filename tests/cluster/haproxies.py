"""Runs HAProxy with the configuration of the testbed's router and with fake pods, and sends requests to HAProxy.

Everything uses the loopback interface; each source address 127.0.0.x is another client.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.testbed import packages
from tests.testbed.certificates import Authority, Pair
from tests.testbed.command import wait_until
from tests.testbed.openshift import haproxy
from tests.testbed.openshift.listening import Listening

DOMAIN = "routes.test"
NAMESPACE = "ns"
PODS = ("127.0.0.1", "127.0.0.2")
CLIENT = "127.0.0.1"


class Pod(http.server.BaseHTTPRequestHandler):
    """Responds with the request as JSON, after the number of seconds in the path (/sleep/0.5)."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        _, _, seconds = self.path.partition("/sleep/")
        time.sleep(float(seconds or 0))
        address = self.server.server_address[0]
        said = {"pod": address, "path": self.path, "headers": list(self.headers.items())}
        body = json.dumps(said).encode()
        with contextlib.suppress(OSError):  # HAProxy may have given up
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing: HAProxy resets the connections of its health checks."""


@dataclass(frozen=True)
class Answer:
    """A client's response; status 0: the connection was closed without a response."""

    status: int
    headers: http.client.HTTPMessage = field(default_factory=http.client.HTTPMessage)
    said: dict[str, Any] = field(default_factory=dict)
    certificate: bytes = b""

    def seen(self, name: str) -> list[str]:
        """Return all values of a header that the pod received."""
        return [value for key, value in self.said["headers"] if key.lower() == name.lower()]


@dataclass(frozen=True)
class Router:
    """A running HAProxy; `pair` is its certificate with the key."""

    listening: Listening
    authority: Authority
    pair: Pair

    def ask(
        self,
        host: str,
        path: str = "/",
        *headers: str,
        tls: bool = True,
        source: str = CLIENT,
        proxied_from: str = "",
    ) -> Answer:
        """Send a request with these header lines; `proxied_from` is the client address in a PROXY protocol line."""
        with contextlib.ExitStack() as stack:
            if proxied_from:
                connection = stack.enter_context(socket.socket(socket.AF_UNIX))
                connection.connect(f"{self.listening.folder}/tls.sock")
                connection.sendall(f"PROXY TCP6 {proxied_from} 2001:db8::1 50000 443\r\n".encode())
            else:
                port = self.listening.secure if tls else self.listening.plain
                connection = stack.enter_context(socket.create_connection((CLIENT, port), 20, (source, 0)))
            connection.settimeout(20)
            try:
                certificate = b""
                if tls:
                    trust = ssl.create_default_context(cafile=str(self.authority.certificate))
                    secured = stack.enter_context(trust.wrap_socket(connection, server_hostname=host))
                    connection, certificate = secured, secured.getpeercert(True) or b""
                lines = [f"GET {path} HTTP/1.1", *headers, "Connection: close", "", ""]
                if not any(line.startswith("Host:") for line in headers):
                    lines.insert(1, f"Host: {host}")
                connection.sendall("\r\n".join(lines).encode())
                answer = http.client.HTTPResponse(connection)
                answer.begin()
                body = answer.read()
            except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLEOFError):
                return Answer(0)
        said = json.loads(body) if body.startswith(b"{") else {}
        return Answer(answer.status, answer.headers, said, certificate)


def route(name: str, tls: dict[str, Any] | None, annotations: dict[str, str] | None = None, **spec: Any) -> Any:
    """Return a Route to the pods, with the host NAME.routes.test."""
    metadata = {"name": name, "namespace": NAMESPACE, "uid": name, "annotations": annotations or {}}
    content = {"host": f"{name}.{DOMAIN}", "to": {"kind": "Service", "name": "web"}, **spec}
    content |= {"tls": tls} if tls else {}
    return {"metadata": {**metadata, "creationTimestamp": "2026-08-01T00:00:00Z"}, "spec": content}


@contextlib.contextmanager
def running(folder: Path, authority: Authority, routes: Iterable[Any]) -> Iterator[Router]:
    """Run HAProxy with these Routes, and two fake pods that serve http and https, until the block ends."""
    packages.install({"haproxy": "/usr/sbin/haproxy"})
    pair = authority.issue("routes", f"/CN=*.{DOMAIN}", (f"DNS:*.{DOMAIN}",))
    pods = authority.issue("pods", "/CN=web", (f"DNS:*.{DOMAIN}", *(f"IP:{address}" for address in PODS)))
    pair.key.rename(folder / "routes.crt.key")  # HAProxy finds a key by its certificate's name
    pair.certificate.rename(folder / "routes.crt")
    plain, secure, health = _free_ports(3)
    listening = Listening(str(folder), str(folder / "routes.crt"), (CLIENT,), plain, secure, health)
    with _serving(pods) as ports:
        for name, text in haproxy.plan(routes, [_slice(ports)], DOMAIN, listening).files.items():
            (folder / name).write_text(text, newline="")
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(["haproxy", "-db", "-f", str(folder / "haproxy.cfg")], stdout=log, stderr=log)
        try:
            wait_until(lambda: _listens(health), f"HAProxy, see {folder}/log", 30)
            yield Router(listening, authority, Pair(folder / "routes.crt", folder / "routes.crt.key"))
            assert process.poll() is None, (folder / "log").read_text()
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def _serving(pair: Pair) -> Iterator[dict[str, int]]:
    """Run the fake pods: every pod listens on both ports."""
    ports = dict(zip(("http", "https"), _free_ports(2), strict=True))
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(pair.certificate, pair.key)
    with contextlib.ExitStack() as stack:
        for name, port in ports.items():
            for address in PODS:
                server = stack.enter_context(Server((address, port), Pod))
                if name == "https":
                    server.socket = trust.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
                threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
                stack.callback(server.shutdown)
        yield ports


def _slice(ports: dict[str, int]) -> Any:
    metadata = {"name": "web", "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": "web"}}
    listed = [{"name": name, "port": port, "protocol": "TCP"} for name, port in ports.items()]
    return {"metadata": metadata, "ports": listed, "endpoints": [{"addresses": [address]} for address in PODS]}


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server((CLIENT, 0))) for _ in range(number)]
        return [int(one.getsockname()[1]) for one in taken]


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((CLIENT, port), 1):
        return True
    return False
