"""The testbed's router sends requests to the same pods as OpenShift's router."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import certifi
import pytest

from tests.testbed.openshift import haproxy
from tests.testbed.openshift.reloads import Reloads
from tests.unit.routes import (
    ALLOW,
    DOMAIN,
    EDGE,
    HELPERS,
    MAPS,
    PASSTHROUGH,
    PATTERNS,
    REDIRECT,
    REENCRYPT,
    TEMPLATE,
    route,
    section,
    slices,
)


@pytest.mark.parametrize(
    ("source", "path", "pattern"),
    [
        (f"{PATTERNS}:61", "", "(/.*)?"),
        (f"{PATTERNS}:61", "/", "(/.*)?"),
        (f"{PATTERNS}:68", "/x", "/x(/.*)?"),
        (f"{PATTERNS}:65", "/x/", "/x/(.*)?"),
        (f"{PATTERNS}:69", "/x.y", r"/x\.y(/.*)?"),
        (f"{PATTERNS}:76", "/a b", r"/a\x20b(/.*)?"),
        (f"{PATTERNS}:77", "/a\tb\r\nc", r"/a\tb\r\nc(/.*)?"),
    ],
)
def test_a_route_matches_the_same_paths_as_on_openshift(source: str, path: str, pattern: str) -> None:
    files = haproxy.plan([route(path=path, tls=EDGE)], [], DOMAIN).files
    assert files["secure.map"] == rf"^a\.example\.?(:[0-9]+)?{pattern}$ be_edge_http:ns:a" + "\n", source


PATTERN = r"^a\.example\.?(:[0-9]+)?(/.*)?$"


@pytest.mark.parametrize(
    ("source", "tls", "entries"),
    [
        (f"{MAPS}:31", None, {"plain": "be_http:ns:a", "redirect": "0"}),
        (f"{MAPS}:49", EDGE, {"secure": "be_edge_http:ns:a", "redirect": "0"}),
        (f"{MAPS}:33", ALLOW, {"secure": "be_edge_http:ns:a", "plain": "be_edge_http:ns:a", "redirect": "0"}),
        (f"{MAPS}:68", REDIRECT, {"secure": "be_edge_http:ns:a", "redirect": "1"}),
        (f"{MAPS}:77", REENCRYPT, {"secure": "be_secure:ns:a", "tcp": "be_secure:ns:a", "redirect": "0"}),
        (f"{MAPS}:89", PASSTHROUGH, {"tcp": "be_tcp:ns:a", "passthrough": "1", "redirect": "0"}),
    ],
)
def test_a_route_is_in_the_same_maps_as_on_openshift(source: str, tls: Any, entries: dict[str, str]) -> None:
    files = haproxy.plan([route(tls=tls)], [], DOMAIN).files
    found = {name.removesuffix(".map"): text for name, text in files.items() if name.endswith(".map") and text}
    patterns = {"passthrough": r"^a\.example$"}
    assert found == {name: f"{patterns.get(name, PATTERN)} {value}\n" for name, value in entries.items()}, source


def test_the_longer_path_is_tried_first() -> None:
    """pkg/router/template/util/map_paths.go:64: by the pattern's text, backwards."""
    routes = [route(name, path=path, tls=EDGE) for name, path in (("a", ""), ("b", "/x/y"), ("c", "/x"), ("d", "/x/"))]
    order = [line.split(":")[-1] for line in haproxy.plan(routes, [], DOMAIN).files["secure.map"].splitlines()]
    assert order == ["b", "d", "c", "a"]


POD = "pod:web-0:web:http:10.0.0.7:8080"


@pytest.mark.parametrize(
    ("source", "spec", "addresses", "servers"),
    [
        (
            f"{TEMPLATE}:810",
            {"port": {"targetPort": "http"}, "tls": EDGE},
            ("10.0.0.7",),
            [f"server {POD} 10.0.0.7:8080 weight 1 cookie {hashlib.md5(POD.encode()).hexdigest()}"],
        ),
        (
            f"{HELPERS}:188",
            {"port": {"targetPort": 9090}, "tls": PASSTHROUGH},
            ("10.0.0.7",),
            ["server pod:web-0:web:metrics:10.0.0.7:9090 10.0.0.7:9090 weight 1"],
        ),
        (f"{HELPERS}:182", {"tls": PASSTHROUGH}, ("10.0.0.7",), 2),
        (
            "pkg/router/template/plugin.go:340",
            {"port": {"targetPort": "http"}, "tls": PASSTHROUGH},
            ("2001:db8::7",),
            ["server pod:web-0:web:http:2001:db8::7:8080 [2001:db8::7]:8080 weight 1"],
        ),
        (
            f"{TEMPLATE}:892",
            {"port": {"targetPort": "http"}, "tls": PASSTHROUGH},
            ("10.0.0.7", "10.0.0.8"),
            [
                f"server pod:web-{number}:web:http:10.0.0.{number + 7}:8080 10.0.0.{number + 7}:8080"
                " weight 1 check inter 5000ms"
                for number in (0, 1)
            ],
        ),
        (f"{HELPERS}:188", {"port": {"targetPort": "none"}, "tls": PASSTHROUGH}, ("10.0.0.7",), []),
    ],
)
def test_a_route_leads_to_the_same_pods_as_on_openshift(
    source: str, spec: Any, addresses: tuple[str, ...], servers: list[str] | int
) -> None:
    found = [line for line in section(route(**spec), *addresses) if line.startswith("server ")]
    assert (len(found) if isinstance(servers, int) else found) == servers, source


def test_a_pod_that_is_not_ready_gets_no_requests() -> None:
    """pkg/router/template/plugin.go:352: only the addresses of ready pods."""
    given = slices("10.0.0.7", "10.0.0.8")
    given[0]["endpoints"][0]["conditions"] = {"ready": False}
    given[0]["endpoints"][1]["conditions"] = {}
    text = haproxy.plan([route()], given, DOMAIN).files["haproxy.cfg"]
    assert "10.0.0.7" not in text
    assert "10.0.0.8:8080" in text


@pytest.mark.parametrize(
    ("source", "given", "words", "files"),
    [
        (f"{TEMPLATE}:819", REENCRYPT, "ssl alpn h2,http/1.1 verify none", []),
        (
            f"{TEMPLATE}:816",
            "with an authority",
            "ssl alpn h2,http/1.1 verify required ca-file /tmp/router/ns:a.ca.pem",
            ["ns:a.ca.pem"],
        ),
    ],
)
def test_a_pod_s_certificate_is_verified_as_on_openshift(source: str, given: Any, words: str, files: list[str]) -> None:
    ca = "".join(Path(certifi.where()).read_text().partition("-----END CERTIFICATE-----")[:2])
    tls = {**REENCRYPT, "destinationCACertificate": ca} if isinstance(given, str) else given
    planned = haproxy.plan([route(tls=tls, port={"targetPort": "http"})], slices("10.0.0.7"), DOMAIN).files
    assert f" {words}\n" in planned["haproxy.cfg"], source
    assert {name: planned[name] for name in planned if name.endswith(".ca.pem")} == dict.fromkeys(files, ca)


def test_reloads_come_at_most_every_five_seconds() -> None:
    """pkg/router/template/limiter/limiter.go:122 counts from the start of the last reload; template.go:55 has 5 s."""
    assert Reloads().seconds_left(now=0.0) == 0
    reloads = Reloads(started=100.0)
    assert [reloads.seconds_left(now) for now in (100.0, 101.0, 105.0, 200.0)] == [5.0, 4.0, 0, 0]
