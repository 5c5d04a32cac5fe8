"""From which pages a browser may send requests to this server."""

import pytest

from deployer.plugin.auth.origins import Origins, is_foreign, is_listed, parsed

LISTED = ("https://mlflow.example.org", "https://*.lab.example.org")


def scope_of(method="POST", scheme="http", **headers):
    told = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "scheme": scheme, "path": "/", "headers": told}


def passed(scope, *, forwarded=False):
    """Return the headers that reach the application, or None if the request is refused."""
    seen, sent = [], []

    async def app(scope, _receive, _send):
        seen.append(scope["headers"])

    async def send(message):
        sent.append(message)

    request = Origins(app, LISTED, forwarded=forwarded)(scope, None, send)
    with pytest.raises(StopIteration):
        request.send(None)
    if sent:
        assert not seen
        assert sent[0]["status"] == 403
        return None
    return dict(seen[0])


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:5000", "localhost:5000"),
        ("http://localhost:5001", "localhost:5001"),
        ("http://127.0.0.1:5000", "127.0.0.1:5000"),
        ("http://[::1]:5000", "[::1]:5000"),
        ("http://node7", "node7:80"),
        ("http://NODE7:80", "node7"),
    ],
)
def test_a_page_may_call_its_own_server(origin, host):
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        headers = passed(scope_of(method, origin=origin, host=host))
        assert headers == {b"host": host.encode()}  # without the origin: MLflow's list does not contain this address


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:5001",
        "http://127.0.0.1:5000",
        "http://localhost",
        "https://localhost:5000",
        "http://localhost:5000.evil.example",
        "http://localhost:5000@evil.example",
        "http://evil.example",
        "http://evil.example/http://localhost:5000",
        "//localhost:5000",
        "localhost:5000",
        "http://",
        "http://localhost:x",
        "http://localhost:5000 ",
        "http://localhost:5000/",
        "null",
        "",
        "file://",
        "https://mlflow.example.org.evil.example",
        "http://mlflow.example.org",
    ],
)
def test_other_pages_may_not_call_the_server(origin):
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        assert passed(scope_of(method, origin=origin, host="localhost:5000")) is None


@pytest.mark.parametrize("origin", ["https://mlflow.example.org", "https://one.lab.example.org"])
def test_a_listed_page_may_call_the_server_and_mlflow_sees_its_origin(origin):
    headers = passed(scope_of("POST", origin=origin, host="localhost:5000"))
    assert headers == {b"origin": origin.encode(), b"host": b"localhost:5000"}
    assert not is_listed(b"null", ["*"])


def test_two_origins_or_two_hosts_are_refused():
    own = parsed(b"http://localhost:5000")
    assert is_foreign("POST", [b"http://localhost:5000"] * 2, own, (), [])
    scope = scope_of(origin="http://localhost:5000", host="localhost:5000")
    scope["headers"].append((b"host", b"localhost:5000"))
    assert passed(scope) is None


@pytest.mark.parametrize(
    ("forwarded", "proto", "origin", "is_own"),
    [
        (True, "https", "https://node7", True),
        (True, "http, https", "https://node7", True),
        (True, "https", "http://node7", False),
        (True, None, "http://node7", True),
        (False, "https", "https://node7", False),
        (False, "https", "http://node7", True),
    ],
)
def test_the_forwarded_scheme_counts_behind_a_proxy(forwarded, proto, origin, is_own):
    headers = {"origin": origin, "host": "node7", **({"x_forwarded_proto": proto} if proto else {})}
    assert (passed(scope_of(**headers), forwarded=forwarded) is not None) == is_own


@pytest.mark.parametrize(
    ("method", "site", "mode", "may"),
    [
        ("GET", "same-origin", "cors", True),
        ("GET", "none", "navigate", True),
        ("GET", "cross-site", "navigate", True),  # a link
        ("GET", "same-site", "no-cors", False),  # a picture or a script in a page at another port
        ("GET", "cross-site", "no-cors", False),
        ("POST", "cross-site", "navigate", False),
        ("POST", "same-origin", "cors", True),
        ("POST", None, None, True),  # a program
    ],
)
def test_fetch_metadata_counts_if_no_origin_is_sent(method, site, mode, may):
    told = {"sec_fetch_site": site, "sec_fetch_mode": mode} if site else {}
    assert (passed(scope_of(method, host="localhost:5000", **told)) is not None) == may
