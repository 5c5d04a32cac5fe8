"""Servers without deployer: MLflow started by hand, and a relay that changes requests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import requests

PASSWORD = "correct-horse-battery"
LOGIN = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": PASSWORD}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def settings(folder: Path, port: int, hosts: str = "localhost:*,127.0.0.1:*") -> dict[str, str]:
    """Return the environment of a server with basic auth and with data in `folder`."""
    (folder / "basic_auth.ini").write_text(
        f"[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = sqlite:///{folder}/auth.db\n"
    )
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/tracking.db",
        "MLFLOW_ARTIFACTS_DESTINATION": str(folder / "artifacts"),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "basic_auth.ini"),
        "MLFLOW_AUTH_ADMIN_USERNAME": "admin",
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key for the tests",
        "MLFLOW_SERVER_ALLOWED_HOSTS": hosts,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_PORT": str(port),
    }


@contextmanager
def running(
    command: list[str], env: Mapping[str, str], port: int, *, user: int | None = None, path: str = "health"
) -> Iterator[str]:
    """Run a server until the block ends; yield its address once it responds."""
    log = Path(env["HOME"]) / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, env=dict(env), stdout=output, stderr=output, start_new_session=True, user=user, cwd=env["HOME"]
        )
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(600):
            with suppress(requests.ConnectionError, requests.Timeout):  # a server listens before it is ready
                if requests.get(f"{address}/{path}", timeout=10).ok:
                    break
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        else:
            raise AssertionError(f"not ready in time: {log.read_text()}")
        yield address
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def relay(
    upstream: str,
    after_put: Callable[[], None] = lambda: None,
    login: Callable[[str, str, str], str] = lambda _method, _path, given: given,
) -> Iterator[str]:
    """Pass requests on to `upstream`; call `after_put` after the answer to a PUT, before the client gets the answer.

    `login` takes the method, the path and the Authorization header. It returns the header to pass on, "" for none.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            connection = HTTPConnection(upstream.removeprefix("http://"), timeout=60)
            headers = {n: value for n, value in self.headers.items() if n.lower() not in {"host", "authorization"}}
            if passed_on := login(self.command, self.path, self.headers.get("Authorization", "")):
                headers["Authorization"] = passed_on
            with closing(connection):
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            if self.command == "PUT":
                after_put()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any  # noqa: N815  # names of http.server

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
