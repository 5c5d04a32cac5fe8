"""Pages of other sites, and of other users of the same machine, cannot use the login that a browser remembers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, BaseServer, ThreadingTCPServer
from urllib.parse import urlsplit

import pytest
import requests

from tests.local.minors import ADMIN, CASES, Server, served
from tests.support import browser

LISTED = "https://listed.example"
SEARCH = "ajax-api/2.0/mlflow/experiments/search"
CREATE = "ajax-api/2.0/mlflow/experiments/create"
PATHS = (SEARCH, "api/2.0/mlflow/experiments/search", "graphql", "v1/traces", "api/2.0/mlflow/users/create-ui")
# a request of a page: returns the answer that the page can read, or the error
ASK = """async ([url, mode]) => {
    try {
        const headers = mode === "cors" ? {"Content-Type": "application/json"} : {};
        const body = '{"name": "by-a-page", "max_results": 1}';
        const answer = await fetch(url, {method: "POST", mode, headers, credentials: "include", body});
        return [answer.status, (await answer.text()).slice(0, 200)];
    } catch (error) { return [0, String(error)]; }
}"""


@pytest.fixture(scope="module")
def server(python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("origins")
    listed = {"MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": LISTED}
    with served(CASES[0], python_of(CASES[0].version), folder, listed) as running:
        yield running


def foreign_origins(server: Server) -> list[str]:
    port = urlsplit(server.address).port
    return [
        "http://localhost:3000",
        "http://127.0.0.1:3000",
        "http://[::1]:3000",
        f"http://localhost:{port}",  # the request goes to 127.0.0.1
        f"https://127.0.0.1:{port}",
        "http://localhost",
        "https://evil.example",
        "null",
    ]


@pytest.mark.parametrize("path", PATHS)
def test_only_pages_of_the_server_and_of_listed_origins_may_send_requests(server: Server, path: str) -> None:
    asked = {"json": {"max_results": 1}, "auth": ADMIN, "timeout": 60}
    for method in ("POST", "GET", "PUT", "PATCH", "DELETE", "OPTIONS"):
        for origin in foreign_origins(server):
            answer = requests.request(method, f"{server.address}/{path}", headers={"Origin": origin}, **asked)
            assert (answer.status_code, method, origin) == (403, method, origin)
            assert "Cross-origin request blocked" in answer.text
            assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    for origin in (server.address, LISTED):
        answer = requests.post(f"{server.address}/{path}", headers={"Origin": origin}, **asked)
        assert answer.status_code != 403 or "Cross-origin" not in answer.text


def test_a_page_of_a_listed_origin_may_read_answers(server: Server) -> None:
    asked = {"json": {"max_results": 1}, "auth": ADMIN, "timeout": 60}
    answer = requests.post(f"{server.address}/{SEARCH}", headers={"Origin": LISTED}, **asked)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == LISTED
    preflight = {"Origin": LISTED, "Access-Control-Request-Method": "POST"}
    assert requests.options(f"{server.address}/{SEARCH}", headers=preflight, timeout=60).ok


@contextmanager
def tunnel(address: str) -> Iterator[int]:
    """Pass connections on as `ssh -L` does; yield the port."""
    host, port = urlsplit(address).hostname, urlsplit(address).port

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while part := source.recv(65536):
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)

    class Connection(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, port)) as far:
                back = threading.Thread(target=copy, args=(far, self.request))
                back.start()
                copy(self.request, far)
                back.join()

    with ThreadingTCPServer(("127.0.0.1", 0), Connection) as listener, serving(listener):
        yield int(listener.server_address[1])


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


@contextmanager
def foreign_page() -> Iterator[str]:
    """Serve an empty page at a port of localhost; yield its address."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>another user's</title>")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as other, serving(other):
        yield f"http://localhost:{other.server_port}"


def test_a_page_at_another_port_cannot_use_the_browsers_login(server: Server) -> None:
    browser.ensure()
    own = server.address.replace("127.0.0.1", "localhost")
    login = {"username": ADMIN[0], "password": ADMIN[1]}
    # the browser and its connections end first
    with tunnel(server.address) as port, foreign_page() as other, browser.chromium() as chromium:
        page = chromium.new_context(http_credentials=login).new_page()
        page.set_default_timeout(browser.SECONDS * 1000)
        for address in (own, f"http://localhost:{port}"):  # with this request, the browser learns the login
            page.goto(f"{address}/api/2.0/mlflow/users/current")
            status, text = page.evaluate(ASK, [f"{address}/{SEARCH}", "cors"])
            assert (status, '"experiments"' in text) == (200, True), text
        page.goto(other)
        for address in (own, f"http://localhost:{port}"):
            for path in (SEARCH, CREATE):
                for mode in ("cors", "no-cors"):
                    status, _ = page.evaluate(ASK, [f"{address}/{path}", mode])
                    assert status == 0  # the page cannot read the answer
        found = server.ask("api/2.0/mlflow/experiments/get-by-name?experiment_name=by-a-page", ADMIN)
        assert found.status_code == 404
