"""A running HAProxy treats requests like OpenShift's router; these tests need no cluster.

Line numbers refer to https://github.com/openshift/router at commit 4b401a86dccc657a8a5254c2794a312241f40e87 (August
2026). tests/unit/test_router_*.py check all decisions before HAProxy runs.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from deployer.core.spec import networks
from tests.cluster.haproxies import CLIENT, DOMAIN, PODS, Router, route, running
from tests.testbed.certificates import Authority

TEMPLATE = "images/router/haproxy/conf/haproxy-config.template"
HELPERS = "pkg/router/template/template_helper.go"
HAPROXY = "haproxy.router.openshift.io/"
LIST = f"{HAPROXY}ip_allowlist"
OLD_LIST = f"{HAPROXY}ip_whitelist"
EDGE = {"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"}
HTTP = {"port": {"targetPort": "http"}}
HTTPS = {"port": {"targetPort": "https"}}
OTHER = "127.0.0.4"
NOBODY = "192.0.2.1"
FORGED = ("X-Forwarded-For: 192.0.2.9", "X-Forwarded-Proto: gopher", "Forwarded: for=192.0.2.9")

# source line, annotations, whether the list admits client 127.0.0.1, whether it admits client 127.0.0.4
LISTS: list[tuple[str, dict[str, str], bool, bool]] = [
    (f"{TEMPLATE}:686", {LIST: CLIENT}, True, False),
    (f"{TEMPLATE}:686", {OLD_LIST: CLIENT}, True, False),
    (f"{TEMPLATE}:678", {LIST: CLIENT, OLD_LIST: OTHER}, True, False),
    (f"{TEMPLATE}:678", {LIST: "", OLD_LIST: OTHER}, False, True),
    (f"{TEMPLATE}:680", {LIST: f"{OTHER}/32 2001:db8::/32"}, False, True),
    (f"{TEMPLATE}:680", {LIST: f"{CLIENT}/24"}, True, True),
    (f"{TEMPLATE}:680", {LIST: f"::ffff:{OTHER} {NOBODY}/08"}, False, True),
    (f"{TEMPLATE}:683", {LIST: " ".join([*(f"192.0.2.{number}" for number in range(1, 200)), OTHER])}, False, True),
    # OpenShift's traps: the router ignores these lists and admits everybody
    (f"{HELPERS}:378", {LIST: f"{OTHER} "}, True, True),
    (f"{HELPERS}:378", {OLD_LIST: f" {OTHER}"}, True, True),
    (f"{HELPERS}:388", {LIST: "10.0.0"}, True, True),
    (f"{HELPERS}:388", {LIST: "10.0.0.0/255.0.0.0"}, True, True),
    (f"{HELPERS}:388", {LIST: f"{OTHER}\x1c{NOBODY}"}, True, True),
    (f"{HELPERS}:76", {LIST: f"{OTHER}\n{NOBODY}"}, True, True),
    (f"{HELPERS}:76", {LIST: f"{CLIENT}\n{OTHER}", OLD_LIST: OTHER}, False, True),
    (f"{HELPERS}:388", {LIST: f"{OTHER} nonsense"}, False, True),
    (f"{HELPERS}:388", {LIST: f"{OTHER} # }} ' \""}, False, True),
]
# networks that contain 127.0.0.1, each followed by its neighbour, which does not
NETWORKS = [
    ipaddress.ip_network(
        (int(ipaddress.ip_address(CLIENT)) & (2**32 - 2 ** (32 - prefix)) ^ (flip << (32 - prefix)), prefix)
    )
    for prefix in (1, 7, 16, 23, 24, 30, 31, 32)
    for flip in (0, 1)
]
# source line, path of the Route, requested path, status
PATHS = [
    ("pkg/router/template/util/util.go:70", "/x", "/x", 200),
    ("pkg/router/template/util/util.go:70", "/x", "/x/y", 200),
    ("pkg/router/template/util/util.go:70", "/x", "/xy", 503),
    ("pkg/router/template/util/util.go:67", "/x/", "/x", 503),
    ("pkg/router/template/util/util.go:67", "/x/", "/x/y", 200),
    ("pkg/router/template/util/util.go:63", "/", "/x", 200),
    ("pkg/router/template/util/util.go:76", "/a b", "/a", 503),
]
MODES: list[str | None] = ["append", "replace", "if-none", "never", "always", None]


def routes(trusted: str, unknown: str) -> Iterator[Any]:
    """Yield all Routes of this file, for one HAProxy; `trusted` is the certificate of the pods' authority."""
    for number, (_, given, _, _) in enumerate(LISTS):
        yield route(f"list{number}", EDGE, given, **HTTP)
    for number, network in enumerate(NETWORKS):
        yield route(
            f"network{number}", EDGE, {LIST: networks.written([str(network), "2001:DB8::0/32", "roihu"])}, **HTTP
        )
    for number, (_, path, _, _) in enumerate(PATHS):
        yield route(f"path{number}", EDGE, **HTTP, path=path)
    for mode in MODES:
        yield route(
            f"forwarded-{mode}".lower(), EDGE, {f"{HAPROXY}set-forwarded-headers": mode} if mode else {}, **HTTP
        )
    yield route("edge", EDGE, **HTTP)
    yield route("plain", None, **HTTP)
    yield route("allow", {**EDGE, "insecureEdgeTerminationPolicy": "Allow"}, **HTTP)
    yield route("passed", {"termination": "passthrough"}, **HTTPS)
    yield route("passed-list", {"termination": "passthrough"}, {LIST: OTHER}, **HTTPS)
    yield route("again", {"termination": "reencrypt", "destinationCACertificate": trusted}, **HTTPS)
    yield route("again-other", {"termination": "reencrypt", "destinationCACertificate": unknown}, **HTTPS)
    yield route("again-none", {"termination": "reencrypt"}, **HTTPS)
    yield route("again-plain", {"termination": "reencrypt"}, **HTTP)
    yield route("rewritten", EDGE, {f"{HAPROXY}rewrite-target": r"/%y\'z"}, **HTTP, path="/x")
    yield route("slow", EDGE, {f"{HAPROXY}timeout": "300ms"}, **HTTP)
    yield route("patient", EDGE, {f"{HAPROXY}timeout": "one second"}, **HTTP)
    yield route("safe", EDGE, {f"{HAPROXY}hsts_header": "max-age=9", f"{HAPROXY}disable_cookies": "true"}, **HTTP)


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp("haproxy")
    ours, another = Authority(folder / "pki"), Authority(folder / "another")
    for authority in (ours, another):
        authority.create()
    with running(folder, ours, routes(*(item.certificate.read_text() for item in (ours, another)))) as found:
        yield found


def host(name: str) -> str:
    return f"{name}.{DOMAIN}"


@pytest.mark.parametrize("number", range(len(LISTS)))
def test_an_allow_list_admits_the_expected_clients(router: Router, number: int) -> None:
    source, _, mine, others = LISTS[number]
    answers = [router.ask(host(f"list{number}"), source=address).status for address in (CLIENT, OTHER)]
    assert answers == [200 if let_in else 0 for let_in in (mine, others)], source


@pytest.mark.parametrize("number", range(len(NETWORKS)), ids=[str(network) for network in NETWORKS])
def test_haproxy_reads_the_same_network_that_deployer_writes(router: Router, number: int) -> None:
    for address in (CLIENT, OTHER, "127.3.0.1"):
        inside = ipaddress.ip_address(address) in NETWORKS[number]
        assert router.ask(host(f"network{number}"), source=address).status == (200 if inside else 0), address


@pytest.mark.parametrize("number", range(len(PATHS)))
def test_a_route_serves_only_its_path(router: Router, number: int) -> None:
    source, _, asked, status = PATHS[number]
    assert router.ask(host(f"path{number}"), asked).status == status, source


@pytest.mark.parametrize(
    ("mode", "source", "addresses", "proto", "forwarded"),
    [
        ("append", f"{TEMPLATE}:719", ["192.0.2.9", CLIENT], ["gopher", "https"], ["for=192.0.2.9", "{ours}"]),
        ("always", f"{TEMPLATE}:40", ["192.0.2.9", CLIENT], ["gopher", "https"], ["for=192.0.2.9", "{ours}"]),
        (None, f"{TEMPLATE}:40", ["192.0.2.9", CLIENT], ["gopher", "https"], ["for=192.0.2.9", "{ours}"]),
        ("replace", f"{TEMPLATE}:731", [CLIENT], ["https"], ["{ours}"]),
        # the router trusts the client's own headers
        ("if-none", f"{TEMPLATE}:743", ["192.0.2.9"], ["gopher"], ["for=192.0.2.9"]),
        ("never", f"{TEMPLATE}:755", ["192.0.2.9"], ["gopher"], ["for=192.0.2.9"]),
    ],
)
def test_forged_forwarded_headers_follow_the_mode_of_the_route(
    router: Router, mode: str | None, source: str, addresses: list[str], proto: list[str], forwarded: list[str]
) -> None:
    name = host(f"forwarded-{mode}".lower())
    answer = router.ask(name, "/", *FORGED)
    ours = f"for={CLIENT};host={name};proto=https"
    assert answer.seen("X-Forwarded-For") == addresses, source
    assert answer.seen("X-Forwarded-Proto") == proto, source
    assert answer.seen("Forwarded") == [value.format(ours=ours) for value in forwarded], source


def test_the_pod_gets_forwarded_headers_of_an_honest_client(router: Router) -> None:
    for name, lines in (("edge", 719), ("forwarded-if-none", 745)):
        answer = router.ask(host(name))
        assert answer.seen("X-Forwarded-For") == [CLIENT], f"{TEMPLATE}:{lines}"
        assert answer.seen("X-Forwarded-Host") == [host(name)]
        assert answer.seen("X-Forwarded-Port") == [str(router.listening.secure)]
        assert answer.seen("X-Forwarded-Proto") == ["https"]
    assert router.ask(host("plain"), tls=False).seen("X-Forwarded-Port") == [str(router.listening.plain)]
    assert router.ask(host("forwarded-never")).seen("X-Forwarded-For") == []


def test_an_ipv6_address_is_quoted(router: Router) -> None:
    answer = router.ask(host("edge"), proxied_from="2001:db8::7")
    expected = f'for="[2001:db8::7]";host={host("edge")};proto=https'
    assert answer.seen("Forwarded") == [expected], f"{TEMPLATE}:729"
    assert answer.seen("X-Forwarded-For") == ["2001:db8::7"]
    assert answer.seen("X-Forwarded-Port") == ["443"], f"{TEMPLATE}:722"


@pytest.mark.parametrize(
    "name", ["Proxy", "X-SSL", "X-SSL-Client-CN", "x-ssl-client-verify", "X-SSL-Client-DER", "X-SSL-Issuer"]
)
@pytest.mark.parametrize("tls", [True, False])
def test_headers_that_forge_an_identity_are_dropped(router: Router, name: str, tls: bool) -> None:
    answer = router.ask(host("allow"), "/", f"{name}: forged", "X-Other: kept", tls=tls)
    assert answer.seen(name) == [], f"{TEMPLATE}:274"
    assert answer.seen("X-Other") == ["kept"]


@pytest.mark.parametrize(("length", "status"), [(20_000, 200), (26_000, 400)])
def test_headers_may_have_24_kib(router: Router, length: int, status: int) -> None:
    assert router.ask(host("edge"), "/", f"X-Long: {'x' * length}").status == status, f"{TEMPLATE}:80"


def test_an_empty_content_length_is_denied(router: Router) -> None:
    # HAProxy may refuse the request before it reaches the rule
    assert router.ask(host("edge"), "/", "Content-Length: ").status in {400, 403}, f"{TEMPLATE}:271"


def test_the_pod_sees_a_host_in_lower_case(router: Router) -> None:
    answer = router.ask(host("edge"), "/", f"Host: {host('Edge').upper()}:8443")
    assert answer.status == 200
    assert answer.seen("Host") == [f"{host('edge')}:8443"], f"{TEMPLATE}:295"
    assert router.ask(host("edge"), "/", f"Host: {host('edge')}.").status == 200, "pkg/router/template/util/util.go:54"


@pytest.mark.parametrize("port", ["", ":8080"])
def test_a_redirect_names_no_port(router: Router, port: str) -> None:
    answer = router.ask(host("edge"), "/a/b?c=d", f"Host: {host('EDGE')}{port}", tls=False)
    assert (answer.status, answer.headers["Location"]) == (302, f"https://{host('edge')}/a/b?c=d"), f"{TEMPLATE}:304"


def test_plain_http_follows_the_tls_settings_of_the_route(router: Router) -> None:
    found = {
        name: (router.ask(host(name), tls=False).status, router.ask(host(name)).status)
        for name in ("edge", "plain", "allow", "unknown")
    }
    assert found == {"edge": (302, 200), "plain": (200, 503), "allow": (200, 200), "unknown": (503, 503)}


def test_a_cookie_keeps_a_client_at_its_pod(router: Router) -> None:
    first = router.ask(host("edge"))
    cookie, *attributes = first.headers["Set-Cookie"].split("; ")
    assert {attribute.lower() for attribute in attributes} == {"path=/", "httponly", "secure", "samesite=none"}
    for _ in range(8):
        again = router.ask(host("edge"), "/", f"Cookie: a=b; {cookie}")
        assert again.said["pod"] == first.said["pod"], f"{TEMPLATE}:770"
        # the router does not set a cookie again, and removes it from the request to the pod
        assert again.headers["Set-Cookie"] is None
        assert [value.strip("; ") for value in again.seen("Cookie")] == ["a=b"]
    pods = {router.ask(host("safe")).said["pod"] for _ in range(30)}
    assert pods == set(PODS), f"{TEMPLATE}:676"
    plain = router.ask(host("plain"), tls=False).headers["Set-Cookie"]
    assert "Secure" not in plain, f"{TEMPLATE}:771"


def test_annotations_set_hsts_and_disable_cookies(router: Router) -> None:
    safe, edge = router.ask(host("safe")), router.ask(host("edge"))
    assert safe.headers["Strict-Transport-Security"] == "max-age=9", f"{TEMPLATE}:782"
    assert safe.headers["Set-Cookie"] is None, f"{TEMPLATE}:769"
    assert edge.headers["Strict-Transport-Security"] is None


def test_a_path_is_rewritten(router: Router) -> None:
    answer = router.ask(host("rewritten"), "/x/a?b=c")
    assert answer.said["path"] == "/%y'z/a?b=c", f"{TEMPLATE}:765"


def test_the_router_waits_for_a_slow_pod_until_the_timeout_of_the_route(router: Router) -> None:
    assert router.ask(host("slow"), "/sleep/2").status == 504, f"{TEMPLATE}:689"
    assert router.ask(host("patient"), "/sleep/1").status == 200, f"{HELPERS}:348"


def test_passthrough_shows_the_certificate_of_the_pod(router: Router) -> None:
    wildcard = ssl.PEM_cert_to_DER_cert(router.pair.certificate.read_text())
    passed, edge = router.ask(host("passed")), router.ask(host("edge"))
    assert (passed.status, edge.status) == (200, 200)
    assert edge.certificate == wildcard
    assert passed.certificate != wildcard, f"{TEMPLATE}:348"
    # the router cannot read or change anything inside TLS
    assert passed.seen("X-Forwarded-For") == []
    assert router.ask(host("passed"), tls=False).status == 503
    statuses = [router.ask(host("passed-list"), source=address).status for address in (CLIENT, OTHER)]
    assert statuses == [0, 200], f"{TEMPLATE}:857"


def test_reencrypt_connects_to_the_pod_by_tls(router: Router) -> None:
    found = {name: router.ask(host(name)).status for name in ("again", "again-none", "again-plain", "again-other")}
    # a pod without TLS, or with a certificate of another authority, counts as unavailable
    assert found == {"again": 200, "again-none": 200, "again-plain": 503, "again-other": 503}, f"{TEMPLATE}:811"
    assert router.ask(host("again")).seen("X-Forwarded-For") == [CLIENT]
