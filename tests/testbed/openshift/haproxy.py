"""Translates Routes and EndpointSlices into HAProxy's files and a verdict for each Route. No I/O.

The rules are those of openshift/router, mainly of its template for HAProxy; tests/unit/test_router_*.py name the source
line of each rule. tests/testbed/README.md lists the differences.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.testbed.openshift.admission import Verdict, judge
from tests.testbed.openshift.backend import backend, backend_name
from tests.testbed.openshift.listening import IN_POD, Listening

Object = dict[str, Any]

# headers that a router with mutual TLS sets; a client could forge an identity with them
SSL_HEADERS = (
    "X-SSL",
    "X-SSL-Client-CN",
    "X-SSL-Client-DER",
    "X-SSL-Client-DN",
    "X-SSL-Client-NotAfter",
    "X-SSL-Client-NotBefore",
    "X-SSL-Client-SHA1",
    "X-SSL-Client-Serial",
    "X-SSL-Client-Subject",
    "X-SSL-Client-Verify",
    "X-SSL-Client-Version",
    "X-SSL-Issuer",
)
SPECIAL = re.compile(r"[\\.+*?()|\[\]{}^$]")
# a map's pattern ends at white space
WHITE = str.maketrans({" ": r"\x20", "\t": r"\t", "\r": r"\r", "\n": r"\n"})

UNAVAILABLE = """\
HTTP/1.0 503 Service Unavailable\r
Cache-Control: no-cache\r
Connection: close\r
Content-Type: text/html\r
\r
<html><body><h1>Application is not available</h1>
<p>No Route has this name, or no pod behind it is ready.</p></body></html>
"""

# the headers of a request may have tune.bufsize minus tune.maxrewrite bytes: 24 KiB
HEAD = """\
global
  log stdout format raw local0
  # by which the next process gets the listening sockets
  stats socket {folder}/haproxy.sock mode 600 expose-fd listeners
  ssl-default-bind-options ssl-min-ver TLSv1.2
  tune.maxrewrite 8192
  tune.bufsize 32768
defaults
  log global
  errorfile 503 {folder}/503.http
  timeout connect 5s
  timeout client 30s
  timeout client-fin 1s
  timeout server 30s
  timeout server-fin 1s
  timeout tunnel 1h
  timeout http-request 10s
  timeout http-keep-alive 300s
frontend health
  mode http
  bind {health}
  monitor-uri /healthz
frontend public
  bind {plain}
  tcp-request inspect-delay 5s
  tcp-request content accept if HTTP
{http}
  acl secure_redirect base,map_reg_int({folder}/redirect.map) -m bool
  http-request redirect location https://%[req.hdr(host),regsub(:[0-9]+$,,)]%[url] code 302 if secure_redirect
  use_backend %[base,map_reg({folder}/plain.map)]
  default_backend unavailable
frontend public_ssl
  option tcplog
  bind {secure}
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  acl passed req.ssl_sni,lower,map_reg({folder}/passthrough.map) -m found
  use_backend %[req.ssl_sni,lower,map_reg({folder}/tcp.map)] if passed
  default_backend terminate
backend terminate
  server terminated unix@{folder}/tls.sock send-proxy
frontend terminated
  bind unix@{folder}/tls.sock ssl crt {certificate} accept-proxy
{http}
  use_backend %[base,map_reg({folder}/secure.map)]
  default_backend unavailable
backend unavailable
  mode http
"""

HTTP = "\n".join(
    (
        "  mode http",
        "  option httplog",
        "  http-request deny if { hdr_len(content-length) 0 }",
        "  http-request del-header Proxy",
        *(f"  http-request del-header {name}" for name in SSL_HEADERS),
        "  http-request set-header Host %[req.hdr(Host),lower]",
    )
)


@dataclass(frozen=True)
class Plan:
    files: dict[str, str]
    verdicts: list[Verdict]


def plan(routes: Iterable[Object], slices: Iterable[Object], domain: str, listening: Listening = IN_POD) -> Plan:
    """Return HAProxy's files and all verdicts; equal Routes and EndpointSlices give an equal plan."""
    verdicts = list(judge(routes, domain))
    served = [verdict for verdict in verdicts if not verdict.reason]
    endpoints = sorted(slices, key=lambda item: str(item["metadata"]["name"]))
    head = HEAD.format(
        folder=listening.folder,
        certificate=listening.certificate,
        plain=listening.bind(listening.plain),
        secure=listening.bind(listening.secure),
        health=listening.bind(listening.health),
        http=HTTP,
    )
    sections = [backend(verdict.route, endpoints, listening.folder) for verdict in served]
    files = {"haproxy.cfg": head + "".join(section.text for section in sections), "503.http": UNAVAILABLE}
    files |= {name: text for section in sections for name, text in section.files.items()}
    return Plan(files | _maps(served), verdicts)


def _maps(served: list[Verdict]) -> dict[str, str]:
    """Return the maps from host and path to backend; the first matching pattern wins, so longer paths come first."""
    maps: dict[str, list[str]] = {name: [] for name in ("plain", "secure", "redirect", "tcp", "passthrough")}
    for verdict in served:
        spec = verdict.route["spec"]
        tls, path = spec.get("tls") or {}, spec.get("path", "")
        termination, insecure = tls.get("termination", ""), tls.get("insecureEdgeTerminationPolicy")
        entry = f"{pattern(verdict.host, path)} {backend_name(verdict.route)}\n"
        maps["redirect"].append(f"{pattern(verdict.host, path)} {int(insecure == 'Redirect')}\n")
        if not termination or (termination != "passthrough" and insecure == "Allow"):
            maps["plain"].append(entry)
        if termination in {"edge", "reencrypt"}:
            maps["secure"].append(entry)
        if termination in {"passthrough", "reencrypt"} and not path:
            maps["tcp"].append(entry)
        if termination == "passthrough" and not path:
            maps["passthrough"].append(f"^{_literal(verdict.host)}$ 1\n")
    return {f"{name}.map": "".join(sorted(entries, reverse=True)) for name, entries in maps.items()}


def pattern(host: str, path: str) -> str:
    """Return the regular expression for a host, with or without a dot and a port, and everything below a path.

    `/x` matches /x and /x/y; `/x/` does not match /x.
    """
    rest = "(.*)?" if path.endswith("/") else "(/.*)?"
    if not path.strip("/"):
        path, rest = "", "(/.*)?"
    return rf"^{_literal(host)}\.?(:[0-9]+)?{_literal(path)}{rest}$"


def _literal(text: str) -> str:
    return SPECIAL.sub(r"\\\g<0>", text).translate(WHITE)
