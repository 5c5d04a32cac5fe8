"""A language model that asks its caller for tools, as an OpenAI-compatible server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Call = tuple[str, dict[str, str]]  # a tool and its arguments


@dataclass
class FakeModel:
    """Asks for the tools in `wants`, one in each answer, and stores all requests."""

    wants: Sequence[Call]
    address: str = ""
    told: list[dict[str, Any]] = field(default_factory=list)  # all messages of all requests

    def chunks(self) -> list[dict[str, Any]]:
        """Return the chunks of the next answer."""
        done = len(self.results)
        if done == len(self.wants):
            return [{"choices": [{"delta": {"content": "Done."}, "finish_reason": "stop"}]}]
        name, arguments = self.wants[done]
        call = {"index": 0, "id": f"call-{done}", "type": "function"}
        call["function"] = {"name": name, "arguments": json.dumps(arguments)}
        return [
            {"choices": [{"delta": {"tool_calls": [call]}}]},
            {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
        ]

    @property
    def results(self) -> list[str]:
        """The answers of the tools."""
        return [str(message["content"]) for message in self.told if message["role"] == "tool"]


@contextmanager
def fake_model(*wants: Call) -> Iterator[FakeModel]:
    """Serve a model that asks for these tools."""
    model = FakeModel(wants)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name of http.server
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model.told[:] = request["messages"]
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for chunk in model.chunks():
                self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
            self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    model.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield model
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
