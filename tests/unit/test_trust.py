"""Trusted certificates of a server: four variables exist, and messages name the deciding variable."""

import http.server
import ssl
import subprocess
import threading

import certifi
import pytest

from deployer.tracking.client import (
    Client,
    Endpoint,
    Unreachable,
    Untrusted,
    authority_hint,
    private_authority,
)

VARIABLES = ["MLFLOW_TRACKING_SERVER_CERT_PATH", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"OK")

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Yield the address of a server with its own certificate, and the file with that certificate."""
    folder = tmp_path_factory.mktemp("certificate")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-noenc",
        "-days",
        "2",
    ]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "own.pem")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "own.pem", folder / "key.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://localhost:{server.server_port}", str(folder / "own.pem")
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def health(address):
    client = Client(Endpoint(address, private_authority()), seconds=5.0)
    try:
        return client.status("health")
    finally:
        client.close()


@pytest.mark.parametrize("variable", VARIABLES)
def test_each_variable_names_an_authority(served, variable, monkeypatch):
    address, own = served
    monkeypatch.setenv(variable, own)
    assert health(address) == (200, "OK")


@pytest.mark.parametrize("number", range(3))
def test_the_variable_that_wins_is_named_instead_of_the_ignored_variable(served, number, monkeypatch):
    address, own = served
    monkeypatch.setenv(VARIABLES[number], certifi.where())
    monkeypatch.setenv("SSL_CERT_FILE", own)
    with pytest.raises(Untrusted) as refused:
        health(address)
    assert f"{certifi.where()}, which {VARIABLES[number]} names" in str(refused.value)
    hint = authority_hint()
    assert f"add its certificate to {certifi.where()}: {VARIABLES[number]} names that file" in hint
    assert "SSL_CERT_FILE" in hint.partition("wins over")[2]


def test_without_any_variable_a_working_variable_is_recommended(served, monkeypatch):
    address, own = served
    with pytest.raises(Untrusted, match="the usual authorities"):
        health(address)
    variable = next(name for name in VARIABLES if f"set {name} " in authority_hint())
    monkeypatch.setenv(variable, own)
    assert health(address) == (200, "OK")


def test_a_missing_file_is_named_with_its_variable(served, tmp_path, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "gone.pem"))
    with pytest.raises(Untrusted, match=r"gone\.pem, which REQUESTS_CA_BUNDLE names"):
        health(served[0])


def test_a_file_without_certificates_is_named_with_its_variable(served, tmp_path, monkeypatch):
    (tmp_path / "empty.pem").write_text("no certificate")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "empty.pem"))
    with pytest.raises(Unreachable, match=r"empty\.pem, which REQUESTS_CA_BUNDLE names"):
        health(served[0])
