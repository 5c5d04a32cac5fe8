"""A proxy between a user and the API server: it answers some requests with 429, or calls a function before answers."""

from __future__ import annotations

import base64
import http.client
import itertools
import ssl
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

_STATUS = (
    b'{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","code":429,"message":"slow"}'
)


@contextmanager
def relay(
    kubeconfig: Path,
    *,
    refuse_every: int | None = None,
    before_answer: Callable[[str, str, int], None] = lambda method, path, status: None,
) -> Iterator[tuple[Path, list[tuple[float, float]]]]:
    """Yield a kubeconfig that leads through the relay, and the times of each refused request and its repetition.

    The relay calls `before_answer` after the API server has answered and before the user gets the answer.
    """
    config = yaml.safe_load(kubeconfig.read_text())
    upstream = urllib.parse.urlsplit(config["clusters"][0]["cluster"]["server"])
    trust = _trust(config)
    counter = itertools.count(1)
    pending: dict[tuple[str, str], float] = {}
    refused: list[tuple[float, float]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            key = (self.command, self.path)
            if (first := pending.pop(key, None)) is not None:
                refused.append((first, time.monotonic()))
            elif refuse_every and next(counter) % refuse_every == 0:
                pending[key] = time.monotonic()
                self._answer(429, {"Retry-After": "1", "Content-Type": "application/json"}, _STATUS)
                return
            connection = http.client.HTTPSConnection(upstream.netloc, context=trust, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            before_answer(self.command, self.path, answer.status)
            kept = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
            self._answer(answer.status, kept, content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815  # names of http.server

        def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{server.server_port}"}
    through = kubeconfig.with_name("relayed.yaml")
    through.write_text(yaml.safe_dump(config))
    try:
        yield through, refused
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _trust(config: dict[str, Any]) -> ssl.SSLContext:
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    with tempfile.NamedTemporaryFile() as pair:
        for part in ("client-certificate-data", "client-key-data"):
            pair.write(base64.b64decode(user[part]))
        pair.flush()
        context.load_cert_chain(pair.name)
    return context
