"""Limits on what strangers and slow clients use: memory, connections, descriptors, and space in the log.

The tests send requests through raw sockets to one server with short deadlines and small limits.
"""

from __future__ import annotations

import base64
import gzip
import os
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from deployer.catalogue import PLUGINS
from tests.support.machine import Machine
from tests.support.servers import PASSWORD, free_port, running, settings

SCRIPT = Path(__file__).with_name("serve_hurried.py")
MIB = 1 << 20
DEADLINE = 2.0  # seconds, for heads and between the parts of a body
MOST = 4 * MIB  # maximum size of a body, except artifacts
DESCRIPTORS = 256
PATIENCE = 60  # seconds for steps that are instant on an idle machine

FLASK = "/api/2.0/mlflow/experiments/create"
ARTIFACT = "/api/2.0/mlflow-artifacts/artifacts/0/a/artifacts/"
GONE = ("gone", "the-password-of-a-deleted-user")


def basic(username: str, password: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


ADMIN = basic("admin", PASSWORD)


@dataclass(frozen=True)
class Server:
    """A running server."""

    address: str
    pid: int
    log: Path

    def connect(self) -> socket.socket:
        host, _, port = self.address.removeprefix("http://").partition(":")
        return socket.create_connection((host, int(port)), timeout=PATIENCE)

    def memory(self) -> int:
        """Return the resident bytes."""
        return self._status("VmRSS")

    def peak(self) -> int:
        """Return the peak of resident bytes since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

    def cpu(self) -> float:
        """Return the seconds of CPU used so far."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def ask(
        self, path: str, login: tuple[str | bytes, str | bytes] | None = ("admin", PASSWORD), **options: object
    ) -> int:
        """Return the status of a request on a new connection."""
        with requests.Session() as session:
            session.trust_env = False
            method = str(options.pop("method", "GET"))
            answer = session.request(method, self.address + path, auth=login, timeout=PATIENCE, **options)  # type: ignore[arg-type]
            return answer.status_code


@pytest.fixture(scope="module")
def server(environments: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    machine.share(environments)
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    command = [
        *("prlimit", f"--nofile={DESCRIPTORS - 56}:{DESCRIPTORS}"),
        *(machine.server_python(), str(SCRIPT), f"head={DEADLINE}", f"body={DEADLINE}", f"answered body={DEADLINE}"),
    ]
    env = {**settings(folder, port), "PYTHONPATH": str(PLUGINS), "DEPLOYER_MAX_REQUEST_BODY": str(MOST)}
    with running(command, env, port, path="health/stores") as address:
        (pid,) = (pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _runs(pid, str(folder)))
        found = Server(address, pid, folder / "server.log")
        user = {"username": GONE[0], "password": GONE[1]}
        assert found.ask("/api/2.0/mlflow/users/create", method="POST", json=user) == 200
        assert found.ask("/api/2.0/mlflow/users/current", GONE) == 200
        assert found.ask("/api/2.0/mlflow/users/delete", method="DELETE", json={"username": GONE[0]}) == 200
        yield found


@pytest.fixture(scope="module")
def largest_page(environments: Path) -> tuple[str, bytes]:
    """The path and the content of the largest file of MLflow's web pages."""
    (build,) = environments.glob("mlflow-*/lib/python*/site-packages/mlflow/server/js/build")
    found = max(build.glob("static/js/*.js"), key=lambda path: path.stat().st_size)
    return f"/static-files/{found.relative_to(build)}", found.read_bytes()


def _runs(pid: int, folder: str) -> bool:
    try:
        return SCRIPT.name in Path(f"/proc/{pid}/cmdline").read_text() and f"HOME={folder}\0" in (
            Path(f"/proc/{pid}/environ").read_text()
        )
    except OSError:
        return False


def head(method: str, path: str, *headers: str) -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: localhost:1", *headers, "", "")).encode()


def send_on(connection: socket.socket, most: int, part: bytes = bytes(MIB)) -> int:
    """Send up to `most` bytes; return how many bytes were sent before the server closed the connection."""
    sent = 0
    with suppress(ConnectionError):
        while sent < most:
            sent += connection.send(part)
    return sent


def answer(connection: socket.socket) -> bytes:
    """Return the whole answer: up to the end of the connection, or of a body with a known length."""
    got = b""
    with suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            got += part
            top, found, body = got.partition(b"\r\n\r\n")
            length = [line for line in top.split(b"\r\n") if line.lower().startswith(b"content-length:")]
            if found and length and len(body) >= int(length[0].partition(b":")[2]):
                break
    return got


def status(text: bytes) -> int:
    assert text.startswith(b"HTTP/1.1 "), text[:200]
    return int(text.split()[1])


def closes(connection: socket.socket, seconds: float) -> bool:
    """Return whether the server closes a connection within that time, without an answer."""
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def eventually(found: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE
    while not found():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


@contextmanager
def many(server: Server, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(server.connect()) for _ in range(count)]


# --- bodies of strangers


STRANGERS = {
    "no login": ("POST", FLASK, ()),
    "an upload without login": ("PUT", f"{ARTIFACT}stranger", ()),
    "a token": ("POST", FLASK, ("Authorization: Bearer abc",)),
    "a wrong password": ("POST", FLASK, (basic("admin", "wrong"),)),
    "a deleted user": ("POST", FLASK, (basic(*GONE),)),
}


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("who", STRANGERS)
def test_the_body_of_a_stranger_is_not_buffered(server: Server, who: str, framing: str, soak: bool) -> None:
    """The client sends the body until the server closes the connection; the answer must still arrive."""
    method, path, headers = STRANGERS[who]
    with server.connect() as connection:  # the first check of a password allocates 32 MiB
        connection.sendall(head(method, path, *headers))
        assert status(answer(connection)) == 401
    size = (600 if soak else 100) * MIB
    rest = server.memory()
    server.forget_peak()
    with server.connect() as connection:
        chunked = framing == "chunked"
        connection.sendall(head(method, path, *headers, f"Content-Length: {size}" if not chunked else CHUNKED))
        part = b"%x\r\n%s\r\n" % (MIB, bytes(MIB)) if chunked else bytes(MIB)
        sent = send_on(connection, size, part)
        told = answer(connection)
    assert status(told) == 401
    assert b'www-authenticate: Basic realm="mlflow"' in told
    assert b"connection: close" in told
    assert sent < size / 2
    assert server.peak() <= 1.1 * rest


CHUNKED = "Transfer-Encoding: chunked"
JSON = "Content-Type: application/json"


def test_unfinished_bodies_of_strangers_are_not_buffered(server: Server) -> None:
    rest = server.memory()
    with ExitStack() as stack:
        connections = []
        for _ in range(5):
            connection = stack.enter_context(server.connect())
            connections.append(connection)
            connection.sendall(head("POST", FLASK, f"Content-Length: {100 * MIB}"))
            send_on(connection, 90 * MIB)
            assert status(answer(connection)) == 401
        assert server.memory() <= 1.1 * rest
        assert all(closes(connection, PATIENCE) for connection in connections)


@pytest.mark.parametrize("path", ["/health", "/static-files/index.html", "/api/3.0/mlflow/server-info"])
def test_open_pages_read_no_body(server: Server, path: str) -> None:
    rest = server.memory()
    server.forget_peak()
    with server.connect() as connection:
        connection.sendall(head("POST", path, CHUNKED))
        send_on(connection, 100 * MIB, b"%x\r\n%s\r\n" % (MIB, bytes(MIB)))
        told = answer(connection)
    assert status(told) == 405
    assert b"connection: close" in told
    assert server.peak() <= 1.1 * rest
    assert server.ask("/health", None) == 200


def test_a_refused_client_that_waits_for_100_continue_is_not_asked_for_its_body(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(head("PUT", f"{ARTIFACT}expects", "Expect: 100-continue", f"Content-Length: {100 * MIB}"))
        assert status(answer(connection)) == 401
        assert closes(connection, PATIENCE)


@pytest.mark.parametrize("path", [FLASK, "/health"])
def test_an_answer_to_a_client_that_waits_for_100_continue_ends_the_connection(server: Server, path: str) -> None:
    """Otherwise the server would read the client's next request as the body (RFC 9110, 10.1.1)."""
    with server.connect() as connection:
        connection.sendall(head("POST", path, "Expect: 100-continue", "Content-Length: 1000"))
        told = answer(connection)
        assert status(told) in {401, 405}
        assert b"connection: close" in told


def test_a_client_with_a_login_gets_100_continue(server: Server) -> None:
    body = b'{"name": "expected"}'
    with server.connect() as connection:
        connection.sendall(head("POST", FLASK, ADMIN, JSON, "Expect: 100-continue", f"Content-Length: {len(body)}"))
        assert status(connection.recv(1 << 16)) == 100
        connection.sendall(body)
        told = answer(connection)
        assert status(told) == 200
        assert b"connection: close" not in told


def test_a_small_body_of_a_stranger_leaves_the_connection_open(server: Server) -> None:
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(head("POST", FLASK, "Content-Length: 100000") + bytes(100000))
            told = answer(connection)
            assert status(told) == 401
            assert b"connection: close" not in told


# --- bodies of clients with a login


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_above_the_limit_is_refused(server: Server, framing: str) -> None:
    with server.connect() as connection:
        if framing == "length":  # no byte of the body is sent
            connection.sendall(head("POST", FLASK, ADMIN, f"Content-Length: {MOST + 1}"))
        else:
            connection.sendall(head("POST", FLASK, ADMIN, CHUNKED))
            send_on(connection, 2 * MOST, b"%x\r\n%s\r\n" % (MIB, bytes(MIB)))
        told = answer(connection)
    assert status(told) == 413
    assert str(MOST).encode() in told


def test_a_body_below_the_limit_is_read(server: Server) -> None:
    body = {"name": "n", "tags": [{"key": "k", "value": "v" * (MOST - 1000)}]}
    assert server.ask(FLASK, method="POST", json=body) == 400  # MLflow finds the value too long
    assert server.ask(FLASK, method="POST", json={"name": "small"}) == 200


def test_artifacts_have_no_limit_and_are_not_kept_in_memory(server: Server, soak: bool) -> None:
    size = (600 if soak else 64) * MIB
    path = f"{ARTIFACT}large"
    assert server.ask(path, method="PUT", data=b"warm up") == 200
    rest = server.memory()
    server.forget_peak()
    with server.connect() as connection:
        connection.sendall(head("PUT", path, ADMIN, f"Content-Length: {size}"))
        assert send_on(connection, size) == size
        assert status(answer(connection)) == 200
    assert server.peak() <= 1.1 * rest
    with requests.get(server.address + path, auth=("admin", PASSWORD), stream=True, timeout=PATIENCE) as found:
        assert sum(map(len, found.iter_content(MIB))) == size


# --- slow clients


@pytest.mark.parametrize("sent", [b"", b"GET /health HT", head("GET", "/health")[:-2]])
def test_a_head_has_a_deadline(server: Server, sent: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(sent)
        assert closes(connection, PATIENCE)


@pytest.mark.parametrize("before", [0, 1], ids=["the first request", "the next request"])
def test_a_head_sent_byte_by_byte_has_the_same_deadline(server: Server, before: int) -> None:
    with server.connect() as connection:
        for _ in range(before):
            connection.sendall(head("GET", "/health"))
            assert status(answer(connection)) == 200
        begun = time.monotonic()
        with suppress(ConnectionError):
            for number in range(PATIENCE * 4):
                connection.sendall(b"G" if number == 0 else b"E")
                time.sleep(0.25)
        assert time.monotonic() - begun < PATIENCE / 2
        assert closes(connection, PATIENCE)


def test_an_idle_connection_outlives_the_deadlines(server: Server) -> None:
    with server.connect() as connection:
        for _ in range(2):
            connection.sendall(head("GET", "/health"))
            assert status(answer(connection)) == 200
            time.sleep(DEADLINE + 1.5)


def test_only_a_stalled_body_has_a_deadline(server: Server) -> None:
    with server.connect() as stopped, server.connect() as slow:
        for connection in (stopped, slow):
            connection.sendall(head("PUT", f"{ARTIFACT}slow", ADMIN, "Content-Length: 10") + b"0")
        for _ in range(9):
            time.sleep(DEADLINE / 3)
            slow.sendall(b"1")
        assert status(answer(slow)) == 200
        assert closes(stopped, PATIENCE)


def test_a_slow_reader_gets_all_of_a_download(server: Server) -> None:
    size, path = 16 * MIB, f"{ARTIFACT}download"
    assert server.ask(path, method="PUT", data=bytes(size)) == 200
    with server.connect() as connection:
        connection.sendall(head("GET", path, ADMIN))
        time.sleep(DEADLINE + 1.5)
        got = 0
        while got < size:
            got += len(connection.recv(MIB))
        time.sleep(DEADLINE + 1.5)


def read_slowly(server: Server, path: str) -> socket.socket:
    """Request a page, and read little of the answer; return the connection."""
    host, _, port = server.address.removeprefix("http://").partition(":")
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.settimeout(PATIENCE)
    connection.connect((host, int(port)))
    connection.sendall(head("GET", path))
    return connection


def test_slow_readers_of_the_largest_page_hold_little_memory_and_get_all_of_it(
    server: Server, largest_page: tuple[str, bytes]
) -> None:
    path, content = largest_page
    assert server.ask(path, None) == 200
    rest = server.memory()
    with ExitStack() as stack:
        readers = [stack.enter_context(read_slowly(server, path)) for _ in range(60)]
        for reader in readers:
            assert status(reader.recv(100)) == 200
        time.sleep(1)
        assert server.memory() <= rest + 20 * MIB
        with server.connect() as connection:
            connection.sendall(head("GET", path))
            assert answer(connection).partition(b"\r\n\r\n")[2] == content


@pytest.mark.parametrize(
    ("header", "wanted"), [("Range: bytes=70000-199999", 206), ('If-None-Match: "no"', 200), ("If-None-Match: *", 304)]
)
def test_web_pages_are_sent_in_ranges_and_on_condition(
    server: Server, largest_page: tuple[str, bytes], header: str, wanted: int
) -> None:
    path, content = largest_page
    body = {206: content[70000:200000], 200: content, 304: b""}[wanted]
    name, _, value = header.partition(": ")
    with requests.Session() as session:
        session.trust_env = False
        for method in ("GET", "HEAD"):
            found = session.request(method, server.address + path, headers={name: value}, timeout=PATIENCE)
            assert found.status_code == wanted
            assert found.content == (body if method == "GET" else b"")
            assert found.headers["Cache-Control"] == "public, max-age=2419200"
            assert found.headers["X-Content-Type-Options"] == "nosniff"
            assert found.headers["X-Frame-Options"] == "SAMEORIGIN"
            assert wanted == 304 or found.headers["Content-Type"].startswith("text/javascript")
            assert wanted == 304 or int(found.headers["Content-Length"]) == len(body)


# --- disconnected clients


@pytest.mark.parametrize("way", ["with a body that is not read on", "waiting for 100 Continue"])
def test_a_disconnected_client_frees_its_place_in_the_queue_of_checks(server: Server, way: str) -> None:
    expects = way == "waiting for 100 Continue"
    with ExitStack() as stack:
        for number in range(80):  # an address has 64 places
            connection = stack.enter_context(server.connect())
            headers = ("Expect: 100-continue", "Content-Length: 10") if expects else (f"Content-Length: {90 << 10}",)
            connection.sendall(head("POST", FLASK, basic(f"{way} {number}", "x"), *headers))
            if not expects:
                connection.sendall(bytes(90 << 10))
        time.sleep(0.5)
    time.sleep(3)
    with many(server, 8) as waiting:
        for number, connection in enumerate(waiting):
            connection.sendall(head("GET", "/", basic(f"{way} and stays {number}", "x")))
        assert [status(answer(connection)) for connection in waiting] == [401] * 8


# --- descriptors, and the log


def test_the_soft_limit_of_descriptors_is_raised(server: Server) -> None:
    (line,) = (x for x in Path(f"/proc/{server.pid}/limits").read_text().splitlines() if x.startswith("Max open files"))
    assert line.split()[3:5] == [str(DESCRIPTORS)] * 2


def test_idle_connections_block_no_client_and_do_not_fill_the_log(server: Server) -> None:
    before = server.log.stat().st_size
    with many(server, 300) as idle:
        for connection in idle[::2]:
            with suppress(ConnectionError):
                connection.sendall(b"GET /health HTTP/1.1\r\n")
        for _ in range(20):
            assert server.ask("/health", None) == 200
            assert server.ask("/api/2.0/mlflow/users/current") == 200
            assert server.ask(f"{ARTIFACT}small", method="PUT", data=b"a") == 200
        assert len(os.listdir(f"/proc/{server.pid}/fd")) < DESCRIPTORS - 64
    assert server.log.stat().st_size - before < 10_000


def test_connections_idle_after_an_answer_block_no_client(server: Server) -> None:
    with many(server, 300) as idle:
        for connection in idle:
            with suppress(ConnectionError):
                connection.sendall(head("GET", "/health"))
        for _ in range(20):
            assert server.ask("/health", None) == 200
            assert server.ask("/api/2.0/mlflow/users/current") == 200


@contextmanager
def dripping(connections: list[socket.socket]) -> Iterator[None]:
    """Keep sending single bytes on each connection until the block ends."""
    ends = threading.Event()

    def drip() -> None:
        while not ends.wait(DEADLINE / 4):
            for connection in connections:
                with suppress(OSError):
                    connection.send(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        thread.join()


def test_slow_bodies_on_open_pages_block_no_client(server: Server) -> None:
    before = server.log.stat().st_size
    with many(server, 300) as strangers, dripping(strangers):
        for connection in strangers:
            with suppress(ConnectionError):
                connection.sendall(head("POST", "/health", "Content-Length: 65000"))
        assert server.ask("/health", None) == 200
        assert len(os.listdir(f"/proc/{server.pid}/fd")) < DESCRIPTORS - 64
        for _ in range(5):
            assert server.ask("/api/2.0/mlflow/users/current") == 200
        assert all(closes(connection, PATIENCE) for connection in map(answered, strangers))
    assert server.log.stat().st_size - before < 10_000


def answered(connection: socket.socket) -> socket.socket:
    """Read and drop the answer, if any; return the connection."""
    with suppress(ConnectionError):
        connection.recv(1 << 16)
    return connection


def test_slow_readers_and_writers_block_neither_clients_nor_an_upload_with_a_login(
    server: Server, largest_page: tuple[str, bytes]
) -> None:
    with ExitStack() as stack:
        upload = stack.enter_context(server.connect())
        upload.sendall(head("PUT", f"{ARTIFACT}patient", ADMIN, "Content-Length: 100") + b"0")
        with dripping([upload]):
            for _ in range(200):
                stack.enter_context(read_slowly(server, largest_page[0]))
            for _ in range(5):
                assert server.ask("/api/2.0/mlflow/users/current") == 200
            assert len(os.listdir(f"/proc/{server.pid}/fd")) < DESCRIPTORS - 64
        upload.sendall(bytes(100))
        assert status(answer(upload)) == 200


def test_repeated_requests_of_a_stranger_are_logged_once(server: Server) -> None:
    before = server.log.stat().st_size
    for number in range(100):
        with server.connect() as connection:
            connection.sendall(b"this is no HTTP\r\n\r\n")
            assert status(answer(connection)) == 400
        assert server.ask("/", None, headers={"Host": f"stranger{number}.example"}) == 403
    text = server.log.read_text()[before:]
    assert text.count("Invalid HTTP request") <= 5  # logged once a minute, and the machine may be slow
    assert text.count("Rejected request with invalid Host header") <= 50
    assert text.count("\n") < 60


# --- the cost of heads

BLANKS, CHUNKS = " " * 30_000, head("POST", "/", CHUNKED)
HOSTILE = {
    "blanks of a header": head("GET", "/", f"A:{BLANKS}\v"),
    "blanks of a chunk": CHUNKS + f"1;{BLANKS}\n\r\n".encode(),
    "blanks of a trailer": CHUNKS + f"1\r\na\r\n0\r\nA:{BLANKS}\v\r\n\r\n".encode(),
    "escapes of a cookie": head("GET", "/health", 'Cookie: a="' + '\\"' * 15_000 + '"'),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_no_request_of_a_stranger_takes_quadratic_time(server: Server, what: str) -> None:
    before = server.cpu()
    with server.connect() as connection:
        connection.sendall(HOSTILE[what])
        assert status(answer(connection)) in {200, 400, 401}
    assert server.cpu() - before < 0.3  # quadratic parsing takes 0.7 to 3 seconds


MANY = [f"a{number}: b" for number in range(120)]


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ((f"A: {'a' * 31_000}",), 401),
        ((f"A: {'a' * 33_000}",), 431),
        (MANY, 401),
        (MANY * 2, 431),
        (["a:"] * 7000, 431),
    ],
    ids=["long", "too long", "many", "too many", "thousands"],
)
def test_the_size_and_the_fields_of_a_head_are_limited(server: Server, headers: list[str], wanted: int) -> None:
    for _ in range(2):
        with server.connect() as connection:
            connection.sendall(head("GET", "/", *headers))
            told = answer(connection)
            assert status(told) == wanted
            assert (b"128 fields" in told) is (wanted == 431)


def test_a_long_password_of_any_characters_is_accepted(server: Server) -> None:
    for number, password in enumerate(("a" * 1024, "\N{GRINNING FACE}" * 1024)):
        login = (f"long{number}{'n' * 200}", password)
        new = {"username": login[0], "password": login[1]}
        assert server.ask("/api/2.0/mlflow/users/create", method="POST", json=new) == 200
        assert server.ask("/api/2.0/mlflow/users/current", (login[0].encode(), login[1].encode())) == 200


LARGE = {
    "a login": head("GET", FLASK, basic("nobody", "a" * 22_000 + "\N{GRINNING FACE}")),
    "a header": head("GET", FLASK, f"Cookie: {'a' * 31_000}"),
    "a body": head("POST", FLASK, "Content-Length: 65000") + bytes(65_000),
    "a small login and a body": head("POST", FLASK, basic("nobody", "a"), "Content-Length: 65000") + bytes(65_000),
}


@pytest.mark.parametrize("what", LARGE)
def test_requests_of_strangers_are_freed_once_answered(server: Server, what: str) -> None:
    """The connections stay open meanwhile."""
    for count, most in ((100, None), (100, 2 * MIB)):  # the second round reuses memory of the first
        rest = server.memory()
        with many(server, count) as connections:
            for connection in connections:
                connection.sendall(LARGE[what])
            assert all(status(answer(connection)) in {401, 405, 429, 503} for connection in connections)
            assert most is None or server.memory() <= rest + most


# --- compressed bodies


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_small_body_that_decompresses_to_a_large_one_is_refused(server: Server, encoding: str) -> None:
    content, pack = bytes(200 * MIB), gzip.compress if encoding == "gzip" else zlib.compress
    body = pack(content)
    rest = server.memory()
    server.forget_peak()
    headers = {"Content-Type": "application/x-protobuf", "X-Mlflow-Experiment-Id": "0", "Content-Encoding": encoding}
    assert server.ask("/v1/traces", method="POST", data=body, headers=headers) == 413
    assert server.peak() <= rest + 3 * MOST


# --- another header


def test_a_workspace_header_causes_no_server_error(server: Server) -> None:
    header = {"X-MLflow-Workspace": "x"}
    for path in ("/api/2.0/mlflow/users/current", f"{ARTIFACT}a", "/", "/api/3.0/mlflow/no/such"):
        assert server.ask(path, None, headers=header) == 401
        assert server.ask(path, headers=header) == 400
    assert server.ask("/health", None, headers=header) == 400
    assert eventually(lambda: server.ask("/health", None) == 200)
