"""The testbed's router admits the same Routes as OpenShift's router, and writes the same status."""

from __future__ import annotations

from typing import Any

import pytest

from tests.testbed.openshift import admission, haproxy
from tests.unit.routes import DOMAIN, EDGE, PASSTHROUGH, PATTERNS, REENCRYPT, UNIQUE, VALIDATION, route


@pytest.mark.parametrize(
    ("source", "spec", "reason"),
    [
        (f"{UNIQUE}:99", {"host": None}, "NoHostValue"),
        (f"{UNIQUE}:108", {"host": f"{'a' * 63}.example"}, ""),
        (f"{UNIQUE}:108", {"host": f"{'a' * 64}.example"}, "InvalidHost"),
        (f"{UNIQUE}:108", {"host": "A.example"}, "InvalidHost"),
        (f"{UNIQUE}:108", {"host": "a_b.example"}, "InvalidHost"),
        (f"{UNIQUE}:108", {"host": "-a.example"}, "InvalidHost"),
        (f"{UNIQUE}:108", {"host": "a..example"}, "InvalidHost"),
        (f"{UNIQUE}:108", {"host": "a.example."}, "InvalidHost"),
        (f"{UNIQUE}:286", {"host": ".".join(["a" * 63] * 4)}, "InvalidHost"),
        ("pkg/cmd/infra/router/router.go:122", {"host": None, "subdomain": "sub"}, ""),
        ("pkg/cmd/infra/router/router.go:183", {"wildcardPolicy": "None"}, ""),
        ("pkg/cmd/infra/router/router.go:190", {"wildcardPolicy": "Subdomain"}, "RouteNotAdmitted"),
        (
            "pkg/router/controller/host_admitter.go:132",
            {"wildcardPolicy": "Subdomain", "host": "_"},
            "RouteNotAdmitted",
        ),
        (f"{VALIDATION}:332", {"tls": REENCRYPT}, ""),
        (f"{VALIDATION}:334", {"tls": PASSTHROUGH}, ""),
        (f"{VALIDATION}:335", {"tls": {**PASSTHROUGH, "certificate": "x"}}, "ExtendedValidationFailed"),
        (f"{VALIDATION}:353", {"tls": {**EDGE, "destinationCACertificate": "x"}}, "ExtendedValidationFailed"),
        (f"{VALIDATION}:356", {"tls": {"termination": "Edge"}}, "ExtendedValidationFailed"),
        (f"{VALIDATION}:273", {"tls": {**REENCRYPT, "destinationCACertificate": "x"}}, "ExtendedValidationFailed"),
        (f"{VALIDATION}:388", {"tls": {**EDGE, "insecureEdgeTerminationPolicy": "no"}}, "ExtendedValidationFailed"),
        (f"{VALIDATION}:393", {"tls": {**PASSTHROUGH, "insecureEdgeTerminationPolicy": "Redirect"}}, ""),
        (
            f"{VALIDATION}:393",
            {"tls": {**PASSTHROUGH, "insecureEdgeTerminationPolicy": "Allow"}},
            "ExtendedValidationFailed",
        ),
        (f"{PATTERNS}:76", {"path": "/a b", "tls": EDGE}, ""),
    ],
)
def test_a_route_is_admitted_or_refused_as_on_openshift(source: str, spec: dict[str, Any], reason: str) -> None:
    (verdict,) = haproxy.plan([route(**spec)], [], DOMAIN).verdicts
    assert verdict.reason == reason, source
    assert bool(verdict.message) == bool(reason)
    backends = haproxy.plan([route(**spec)], [], DOMAIN).files["haproxy.cfg"].count(":ns:a\n")
    assert backends == (0 if reason else 1), source


OLD = route("old", born=0)
CLAIM = "pkg/router/controller/hostindex/activation.go"


@pytest.mark.parametrize(
    ("source", "older", "newer", "reason"),
    [
        (f"{CLAIM}:126", OLD, route("new", born=1), "HostAlreadyClaimed"),
        (f"{CLAIM}:126", OLD, route("new", born=1, path="/x"), ""),
        (f"{CLAIM}:126", route("old", path="/x"), route("new", born=1, path="/x/"), ""),
        (f"{CLAIM}:60", OLD, route("new", "other", born=1, path="/x"), "HostAlreadyClaimed"),
        (f"{CLAIM}:131", route("old", tls=EDGE), route("new", born=1, tls=EDGE, path="/x"), ""),
        (
            f"{CLAIM}:131",
            route("old", tls=PASSTHROUGH),
            route("new", born=1, tls=EDGE, path="/x"),
            "HostAlreadyClaimed",
        ),
        (f"{CLAIM}:131", route("old", tls=PASSTHROUGH), route("new", born=1, path="/x"), ""),
        ("pkg/router/routeapihelpers/helper.go:18", route("a"), route("b"), "HostAlreadyClaimed"),
        # a Route refused before the comparison of hosts claims no host; a Route refused later keeps its host
        (f"{UNIQUE}:97", route("old", wildcardPolicy="Subdomain"), route("new", "other", born=1), ""),
        (
            "pkg/cmd/infra/router/template.go:835",
            route("old", tls={"termination": ""}),
            route("new", "other", born=1),
            "HostAlreadyClaimed",
        ),
    ],
)
def test_two_routes_with_one_host_are_judged_as_on_openshift(source: str, older: Any, newer: Any, reason: str) -> None:
    verdicts = {item.route["metadata"]["name"]: item for item in admission.judge([newer, older], DOMAIN)}
    assert verdicts[newer["metadata"]["name"]].reason == reason, source
    assert verdicts[older["metadata"]["name"]].reason != "HostAlreadyClaimed"


STATUS = "pkg/router/controller/status.go"


@pytest.mark.parametrize(
    ("source", "spec", "host", "policy", "admitted"),
    [
        (f"{STATUS}:374", {}, {"host": "a.example"}, "None", "True"),
        (f"{STATUS}:376", {"host": None}, {}, "None", "False"),
        (f"{STATUS}:376", {"host": None, "subdomain": "sub"}, {"host": f"sub.{DOMAIN}"}, "None", "True"),
        (f"{STATUS}:377", {"wildcardPolicy": "Subdomain"}, {"host": "a.example"}, "Subdomain", "False"),
    ],
)
def test_a_status_is_written_as_on_openshift(
    source: str, spec: dict[str, Any], host: dict[str, str], policy: str, admitted: str
) -> None:
    given = route(**spec)
    (verdict,) = admission.judge([given], DOMAIN)
    written = admission.status(verdict, DOMAIN, "2026-08-01T00:00:00Z")
    assert written is not None
    (entry,) = written["ingress"]
    (condition,) = entry["conditions"]
    expected = {"routerName": "default", "routerCanonicalHostname": f"router-default.{DOMAIN}"}
    said = {key: value for key, value in entry.items() if key != "conditions"}
    assert said == {**expected, "wildcardPolicy": policy, **host}, source
    assert (condition["type"], condition["status"]) == ("Admitted", admitted), source
    # an equal status is not written again, however old
    again = admission.Verdict({**given, "status": written}, verdict.host, verdict.reason, verdict.message)
    assert admission.status(again, DOMAIN, "2026-08-02T00:00:00Z") is None, f"{STATUS}:348"
