"""Decides the backend section of one Route: the treatment of its requests, and their pods. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.testbed.openshift import annotations

Object = dict[str, Any]

PREFIXES = {"": "be_http", "edge": "be_edge_http", "reencrypt": "be_secure", "passthrough": "be_tcp"}
# a line of HAProxy has at most 64 words, and three words come before the networks
NETWORKS_IN_A_LINE = 61
# `append` adds to the client's headers, `replace` replaces them, and `if-none` trusts them
FORWARDED = {
    "append": ("add-header", ""),
    "replace": ("set-header", ""),
    "if-none": ("set-header", " !{{ req.hdr({name}) -m found }}"),
}
FORWARDED_HEADERS = (
    ("X-Forwarded-Host", "%[req.hdr(host)]", ""),
    ("X-Forwarded-Port", "%[dst_port]", ""),
    ("X-Forwarded-Proto", "http", "!{ ssl_fc }"),
    ("X-Forwarded-Proto", "https", "{ ssl_fc }"),
    ("X-Forwarded-Proto-Version", "h2", "{ ssl_fc_alpn -i h2 }"),
    ("Forwarded", r"for=\"[%[src]]\";host=%[req.hdr(host)];proto=%[req.hdr(X-Forwarded-Proto)]", "ipv6"),
    ("Forwarded", "for=%[src];host=%[req.hdr(host)];proto=%[req.hdr(X-Forwarded-Proto)]", "!ipv6"),
)


@dataclass(frozen=True)
class Section:
    """A backend's lines, and the files to which the lines refer."""

    text: str
    files: dict[str, str]


@dataclass(frozen=True, order=True)
class Endpoint:
    """A port of a pod; the sticky cookie contains a hash of `name`."""

    name: str
    address: str


def backend_name(route: Object) -> str:
    metadata = route["metadata"]
    return f"{PREFIXES[_termination(route)]}:{metadata['namespace']}:{metadata['name']}"


def backend(route: Object, slices: list[Object], folder: str) -> Section:
    given = route["metadata"].get("annotations") or {}
    termination = _termination(route)
    allowing, files = _allowing(route, given, folder)
    lines = [*allowing, *(_tcp(given) if termination == "passthrough" else _http(route, given))]
    verifying, authority = _verifying(route, folder) if termination == "reencrypt" else ("", {})
    endpoints = sorted(set(_endpoints(route, slices)))
    for endpoint in endpoints:
        words = ["server", endpoint.name, endpoint.address, "weight 1"]
        words += [f"cookie {_hash(endpoint.name)}"] if termination != "passthrough" else []
        words += [verifying] if verifying else []
        words += ["check inter 5000ms"] if len(endpoints) > 1 else []
        lines.append(" ".join(words))
    text = f"backend {backend_name(route)}\n" + "".join(f"  {line}\n" for line in lines)
    return Section(text, files | authority)


def _http(route: Object, given: annotations.Annotations) -> Iterator[str]:
    tls = route["spec"].get("tls") or {}
    key = f"{route['metadata']['namespace']}:{route['metadata']['name']}"
    yield "mode http"
    yield "option redispatch"
    yield f"balance {annotations.balance(given, 'random')}"
    yield "timeout check 5000ms"
    if longest := annotations.timeout(given.get(f"{annotations.HAPROXY}timeout")):
        yield f"timeout server {longest}"
    if longest := annotations.timeout(given.get(f"{annotations.HAPROXY}timeout-tunnel")):
        yield f"timeout tunnel {longest}"
    yield from _forwarded(annotations.forwarded(given))
    if rewriting := annotations.rewrite(given, route["spec"].get("path", "")):
        yield f"http-request replace-path {rewriting}"
    secure = bool(tls) and tls.get("insecureEdgeTerminationPolicy") != "Allow"
    if sticky := annotations.cookie(given, _hash(f" {key}"), secure=secure):
        yield f"cookie {sticky}"
    if tls and (hsts := annotations.strict_transport(given)):
        yield f"http-response set-header Strict-Transport-Security '{hsts}'"


def _tcp(given: annotations.Annotations) -> Iterator[str]:
    yield f"balance {annotations.balance(given, 'source')}"
    yield "hash-type consistent"
    yield "timeout check 5000ms"
    names = ("timeout-tunnel", "timeout")
    if longest := annotations.timeout(*(given.get(f"{annotations.HAPROXY}{name}") for name in names)):
        yield f"timeout tunnel {longest}"


def _allowing(route: Object, given: annotations.Annotations, folder: str) -> tuple[list[str], dict[str, str]]:
    """Return the lines of the allow-list: HAProxy closes other clients' connections without a response."""
    networks = annotations.allowed(given)
    if not networks:
        return [], {}
    files = {}
    written = " ".join(networks)
    if len(networks) > NETWORKS_IN_A_LINE:
        name = f"{route['metadata']['namespace']}:{route['metadata']['name']}.allowlist"
        files[name] = "\n".join(networks) + "\n"
        written = f"-f {folder}/{name}"
    return [f"acl allowlist src {written}", "tcp-request content reject if !allowlist"], files


def _forwarded(mode: str) -> Iterator[str]:
    if mode in {"append", "if-none"}:
        yield "option forwardfor" + (" if-none" if mode == "if-none" else "")
    if mode == "replace":
        yield "http-request set-header X-Forwarded-For %[src]"
    if mode not in FORWARDED:
        return
    yield "acl ipv6 src -m sub :"
    action, unless = FORWARDED[mode]
    for name, value, condition in FORWARDED_HEADERS:
        conditions = f"{condition}{unless.format(name=name)}".strip()
        yield f"http-request {action} {name} {value}" + (f" if {conditions}" if conditions else "")


def _verifying(route: Object, folder: str) -> tuple[str, dict[str, str]]:
    """Return how HAProxy verifies the pod's certificate: with the Route's authority, or not at all."""
    authority = route["spec"]["tls"].get("destinationCACertificate")
    if not authority:
        return "ssl alpn h2,http/1.1 verify none", {}
    name = f"{route['metadata']['namespace']}:{route['metadata']['name']}.ca.pem"
    return f"ssl alpn h2,http/1.1 verify required ca-file {folder}/{name}", {name: authority}


def _endpoints(route: Object, slices: list[Object]) -> Iterator[Endpoint]:
    """Return ports of ready pods; a Route's targetPort is the name or the number of a pod's port."""
    spec, namespace = route["spec"], route["metadata"]["namespace"]
    wanted = str((spec.get("port") or {}).get("targetPort") or "")
    for item in slices:
        metadata = item["metadata"]
        service = (metadata.get("labels") or {}).get("kubernetes.io/service-name")
        if (metadata["namespace"], service) != (namespace, spec["to"]["name"]):
            continue
        for port in item.get("ports") or []:
            number, name = port["port"], port.get("name") or ""
            if port.get("protocol") == "UDP" or wanted not in {"", name, str(number)}:
                continue
            for endpoint in item.get("endpoints") or []:
                if (endpoint.get("conditions") or {}).get("ready") is False:
                    continue
                pod = (endpoint.get("targetRef") or {}).get("name")
                for address in endpoint["addresses"]:
                    kind = f"pod:{pod}" if pod else "ept"
                    host = f"[{address}]" if ":" in address else address
                    yield Endpoint(f"{kind}:{service}:{name}:{address}:{number}", f"{host}:{number}")


def _termination(route: Object) -> str:
    termination: str = (route["spec"].get("tls") or {}).get("termination", "")
    return termination


def _hash(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
