"""Decides what Routes mean for HAProxy: objects of the API in, its files and each Route's status out. No I/O.

The rules are those of OpenShift's router, release 4.22: its `haproxy-config.template`, `template_helper.go` and
`unique_host.go`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

ROUTER = "default"
FOLDER = "/tmp/router"
SOCKET = f"{FOLDER}/haproxy.sock"
ANNOTATION = "haproxy.router.openshift.io/"
TIME = re.compile(r"([1-9][0-9]*)(us|ms|s|m|h|d)?")
MILLISECONDS = {"us": 0.001, "ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
LONGEST = 2**31 - 1

UNAVAILABLE = """\
HTTP/1.0 503 Service Unavailable\r
Cache-Control: no-cache\r
Connection: close\r
Content-Type: text/html\r
\r
<html><body><h1>Application is not available</h1>
<p>No Route has this name, or no pod behind it is ready.</p></body></html>
"""

HEAD = f"""\
global
  log stdout format raw local0
  # by which the next process gets the listening sockets
  stats socket {SOCKET} mode 600 expose-fd listeners
  ssl-default-bind-options ssl-min-ver TLSv1.2
  tune.bufsize 32768
defaults
  mode http
  log global
  option httplog
  option forwardfor
  errorfile 503 {FOLDER}/503.http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout tunnel 1h
  timeout http-request 10s
  timeout http-keep-alive 300s
frontend plain
  bind :8080
  http-request redirect scheme https code 302 if {{ base,map_reg({FOLDER}/redirect.map) -m found }}
  use_backend %[base,map_reg({FOLDER}/plain.map)]
frontend secure
  bind :8443 ssl crt /certificate/wildcard.pem
  use_backend %[base,map_reg({FOLDER}/secure.map)]
frontend health
  bind :1936
  option dontlog-normal
  monitor-uri /healthz
"""

BACKEND = """\
backend {name}
  http-request add-header X-Forwarded-Host %[req.hdr(host)]
  http-request add-header X-Forwarded-Port %[ssl_fc,iif(443,80)]
  http-request add-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request add-header Forwarded for=%[src];host=%[req.hdr(host)];proto=%[ssl_fc,iif(https,http)]
"""


@dataclass(frozen=True)
class Verdict:
    """What the router says of a Route: admitted, or a reason and a message why not."""

    route: Object
    host: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Plan:
    files: dict[str, str]
    verdicts: list[Verdict]


def plan(routes: Iterable[Object], slices: Iterable[Object], domain: str) -> Plan:
    """Everything the router does about these Routes and EndpointSlices; the same objects give the same plan."""
    verdicts = list(judge(routes, domain))
    served = [verdict for verdict in verdicts if not verdict.reason]
    endpoints = sorted(slices, key=lambda item: str(item["metadata"]["name"]))
    backends = [_backend(verdict.route, endpoints) for verdict in served]
    maps: dict[str, list[tuple[str, str]]] = {"plain": [], "secure": [], "redirect": []}
    for verdict in served:
        for name in _frontends(verdict.route):
            maps[name].append((_pattern(verdict), _name(verdict.route)))
    files = {"haproxy.cfg": HEAD + "".join(backends), "503.http": UNAVAILABLE}
    for name, entries in maps.items():
        # the first pattern that fits is taken, so the longer path comes first
        ordered = sorted(entries, key=lambda entry: (-len(entry[0]), entry))
        files[f"{name}.map"] = "".join(f"{pattern} {backend}\n" for pattern, backend in ordered)
    return Plan(files, verdicts)


def judge(routes: Iterable[Object], domain: str) -> Iterator[Verdict]:
    """The oldest Route has a host for its namespace, and there the oldest one each path."""
    owners: dict[str, Object] = {}
    paths: dict[tuple[str, str], Object] = {}
    for route in sorted(routes, key=_age):
        spec, metadata = route["spec"], route["metadata"]
        host = spec.get("host") or (f"{spec['subdomain']}.{domain}" if spec.get("subdomain") else "")
        termination = (spec.get("tls") or {}).get("termination", "edge")
        if not host:
            yield Verdict(route, host, "NoHostValue", "the route has no host")
        elif termination != "edge":
            yield Verdict(route, host, "UnsupportedTermination", f"this router does not do {termination}")
        elif re.search(r"\s", spec.get("path", "")):
            yield Verdict(route, host, "InvalidPath", "the path has white space")
        elif (owner := owners.setdefault(host, route))["metadata"]["namespace"] != metadata["namespace"]:
            yield Verdict(route, host, "HostAlreadyClaimed", f"an older route of another namespace has {host}")
        elif (owner := paths.setdefault((host, spec.get("path", "")), route)) is not route:
            name = owner["metadata"]["name"]
            yield Verdict(route, host, "HostAlreadyClaimed", f"route {name} has {host} and is older")
        else:
            yield Verdict(route, host)


def status(verdict: Verdict, domain: str, now: str) -> Object | None:
    """The `status` to be written, or None if the Route has it."""
    admitted = {"type": "Admitted", "status": "False" if verdict.reason else "True"}
    if verdict.reason:
        admitted |= {"reason": verdict.reason, "message": verdict.message}
    entry: Object = {
        "host": verdict.host,
        "routerName": ROUTER,
        "routerCanonicalHostname": f"router-{ROUTER}.{domain}",
        "wildcardPolicy": "None",
    }
    written = (verdict.route.get("status") or {}).get("ingress") or []
    present = next((item for item in written if item.get("routerName") == ROUTER), {})
    conditions = [{**item, "lastTransitionTime": None} for item in present.get("conditions") or []]
    if {**present, "conditions": conditions} == {**entry, "conditions": [{**admitted, "lastTransitionTime": None}]}:
        return None
    return {"ingress": [{**entry, "conditions": [{**admitted, "lastTransitionTime": now}]}]}


def allowed(value: str) -> list[str]:
    """The addresses of an allow-list; an empty list lets everybody in.

    Space around the list voids all of it, and an entry that is wrong is left out: a list of wrong entries only is none.
    """
    return [entry for entry in value.split() if _is_address(entry)] if value == value.strip() else []


def _is_address(entry: str) -> bool:
    """As Go's net.ParseIP and net.ParseCIDR have it: no zones, no netmasks, a prefix may begin with zeros."""
    address, slash, prefix = entry.partition("/")
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    numeric = re.fullmatch("[0-9]+", prefix) is not None and int(prefix) <= found.max_prefixlen
    return "%" not in address and (numeric or not slash)


def timeout(value: str) -> str:
    """A time as HAProxy takes it, at most its longest; empty where the value is none."""
    found = TIME.fullmatch(value)
    if not found:
        return ""
    longer = int(found[1]) * MILLISECONDS[found[2] or "ms"] > LONGEST
    return f"{LONGEST}ms" if longer else value


def _age(route: Object) -> tuple[str, str]:
    return route["metadata"]["creationTimestamp"], route["metadata"]["uid"]


def _name(route: Object) -> str:
    kind = "be_edge_http" if route["spec"].get("tls") else "be_http"
    return f"{kind}:{route['metadata']['namespace']}:{route['metadata']['name']}"


def _pattern(verdict: Verdict) -> str:
    path = verdict.route["spec"].get("path", "").rstrip("/")
    return rf"^{re.escape(verdict.host)}\.?(:[0-9]+)?{re.escape(path)}(|/.*)$"


def _frontends(route: Object) -> list[str]:
    tls = route["spec"].get("tls")
    if not tls:
        return ["plain"]
    insecure = {"Allow": ["plain"], "Redirect": ["redirect"]}
    return ["secure", *insecure.get(tls.get("insecureEdgeTerminationPolicy") or "None", [])]


def _backend(route: Object, slices: list[Object]) -> str:
    annotations = route["metadata"].get("annotations") or {}
    lines = [BACKEND.format(name=_name(route))]
    if longest := timeout(annotations.get(f"{ANNOTATION}timeout", "")):
        lines.append(f"  timeout server {longest}\n")
    names = (f"{ANNOTATION}ip_allowlist", f"{ANNOTATION}ip_whitelist")
    entries = allowed(next((annotations[name] for name in names if annotations.get(name)), ""))
    # one to a line: a line may have 64 words
    lines += [f"  acl allowlist src {entry}\n" for entry in entries]
    lines += ["  tcp-request content reject if !allowlist\n"] if entries else []
    servers = sorted(set(_servers(route, slices)))
    return "".join(lines) + "".join(f"  server {server} {server}\n" for server in servers)


def _servers(route: Object, slices: list[Object]) -> Iterator[str]:
    """Addresses of ready pods; a Route's targetPort is the name or the number of a port of theirs."""
    spec = route["spec"]
    wanted = (spec.get("port") or {}).get("targetPort")
    for item in slices:
        metadata = item["metadata"]
        service = (metadata.get("labels") or {}).get("kubernetes.io/service-name")
        if (metadata["namespace"], service) != (route["metadata"]["namespace"], spec["to"]["name"]):
            continue
        ports = [port["port"] for port in item.get("ports") or [] if wanted in {None, port.get("name"), port["port"]}]
        for endpoint in item.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                yield from (f"{address}:{port}" for address in endpoint["addresses"] for port in ports)
