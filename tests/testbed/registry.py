"""A read-only OCI registry over a folder: containerd's mirror of every registry. It can simulate failures.

It needs only the standard library, because the node starts this file by its path.
"""

from __future__ import annotations

import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REQUEST = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs)/(?P<reference>[^/]+)")


class Registry(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ClassVar[Path]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.rstrip("/") == "/v2":
            self._refuse(200, "OK")
            return
        request = REQUEST.fullmatch(url.path)
        if not request:
            self._refuse(404, "NOT_FOUND")
            return
        # containerd requests `mlflow/mlflow` from every mirror and names the original registry in `ns`
        repository = "/".join([*parse_qs(url.query).get("ns", []), request["repository"]])
        fault = self._fault(repository)
        if status := fault.get("status"):
            self._refuse(status, "INJECTED_FAULT")
            return
        file = self._find(repository, request["reference"])
        if file is None:
            self._refuse(404, "MANIFEST_UNKNOWN" if request["kind"] == "manifests" else "BLOB_UNKNOWN")
            return
        rate = fault.get("bytes_per_second") if request["kind"] == "blobs" else None
        self._send(file, MANIFEST if request["kind"] == "manifests" else "application/octet-stream", rate)

    def _fault(self, repository: str) -> dict[str, Any]:
        """Return the fault for a repository: {"name": "ghcr.io/mlflow/mlflow", ...}; without a name, for all."""
        try:
            fault = json.loads((self.store / "fault.json").read_text())
        except FileNotFoundError:
            return {}
        return fault if fault.get("name", repository) == repository else {}

    def _find(self, repository: str, reference: str) -> Path | None:
        if not reference.startswith("sha256:"):
            references = json.loads((self.store / "references.json").read_text())
            reference = references.get(f"{repository}:{reference}", "")
        file = self.store / "blobs" / Path(reference).name
        return file if file.is_file() else None

    def _send(self, file: Path, kind: str, rate: int | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Docker-Content-Digest", file.name)
        self.send_header("Content-Length", str(file.stat().st_size))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.flush()
        with file.open("rb") as content:
            if not rate:
                self.connection.sendfile(content)
                return
            while piece := content.read(max(1, rate // 10)):
                self.wfile.write(piece)
                time.sleep(0.1)

    def _refuse(self, status: int, code: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


if __name__ == "__main__":
    Registry.store = Path(sys.argv[2])
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Registry).serve_forever()
