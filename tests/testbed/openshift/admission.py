"""Decides which Routes the router admits, and what it writes into their status. No I/O.

The rules and their order are those of openshift/router's plugins; tests/unit/test_router_*.py name the source line of
each rule.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

ROUTER = "default"
LABEL = "[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
HOST = re.compile(rf"{LABEL}(?:\.{LABEL})*")
HOST_LENGTH = 253
TERMINATIONS = {
    "edge": {"None", "Allow", "Redirect"},
    "reencrypt": {"None", "Allow", "Redirect"},
    "passthrough": {"None", "Redirect"},
}
CERTIFICATES = ("certificate", "key", "caCertificate", "destinationCACertificate")


@dataclass(frozen=True)
class Verdict:
    """The router's decision on a Route: admitted, or the reason and message of the refusal."""

    route: Object
    host: str
    reason: str = ""
    message: str = ""


def judge(routes: Iterable[Object], domain: str) -> Iterator[Verdict]:
    """Return a verdict for each Route, the oldest Route first; the host of a `subdomain` is below `domain`."""
    claims: dict[str, list[Object]] = {}
    for route in sorted(routes, key=_age):
        spec = route["spec"]
        host = spec.get("host") or (f"{spec['subdomain']}.{domain}" if spec.get("subdomain") else "")
        if refusal := _own_mistake(spec, host):
            yield Verdict(route, host, *refusal)
        elif claimed := _claimed(route, host, claims.setdefault(host, [])):
            yield Verdict(route, host, "HostAlreadyClaimed", claimed)
        else:
            # a Route with TLS mistakes still claims its host
            claims[host].append(route)
            mistake = _tls_mistake(spec.get("tls"))
            yield Verdict(route, host, "ExtendedValidationFailed" if mistake else "", mistake)


def status(verdict: Verdict, domain: str, now: str) -> Object | None:
    """Return the `status` to write, or None if the Route already has it."""
    admitted = {"type": "Admitted", "status": "False" if verdict.reason else "True"}
    if verdict.reason:
        admitted |= {"reason": verdict.reason, "message": verdict.message}
    entry: Object = {
        "routerName": ROUTER,
        "routerCanonicalHostname": f"router-{ROUTER}.{domain}",
        "wildcardPolicy": _wildcard_policy(verdict.route["spec"]),
        **({"host": verdict.host} if verdict.host else {}),
    }
    written = (verdict.route.get("status") or {}).get("ingress") or []
    present = next((item for item in written if item.get("routerName") == ROUTER), {})
    conditions = [{**item, "lastTransitionTime": None} for item in present.get("conditions") or []]
    if {**present, "conditions": conditions} == {**entry, "conditions": [{**admitted, "lastTransitionTime": None}]}:
        return None
    return {"ingress": [{**entry, "conditions": [{**admitted, "lastTransitionTime": now}]}]}


def _own_mistake(spec: Object, host: str) -> tuple[str, str] | None:
    """Return the reason and message of a mistake in the Route itself, if there is one."""
    policy = _wildcard_policy(spec)
    if policy != "None":
        return "RouteNotAdmitted", f"this router takes no routes with wildcardPolicy {policy}"
    if not host:
        return "NoHostValue", "the route has no host"
    if len(host) > HOST_LENGTH or not HOST.fullmatch(host):
        return "InvalidHost", f"spec.host: {host} is no DNS name: lower case, digits and -, labels up to 63 characters"
    return None


def _wildcard_policy(spec: Object) -> str:
    # the API server's default is None
    return spec.get("wildcardPolicy") or "None"


def _claimed(route: Object, host: str, older: list[Object]) -> str:
    """Return why older Routes claim this host or path; empty if it is free.

    The host belongs to the namespace of its oldest Route. In this namespace, each path has one Route, and a passthrough
    Route shares the host with no other TLS Route.
    """
    if older and older[0]["metadata"]["namespace"] != route["metadata"]["namespace"]:
        return f"an older route of another namespace has {host}"
    for other in older:
        both = [item["spec"].get("tls") for item in (other, route)]
        passed = None not in both and any(tls["termination"] == "passthrough" for tls in both)
        if passed or _path(other) == _path(route):
            return f"route {other['metadata']['name']} has {host} and is older"
    return ""


def _tls_mistake(tls: Object | None) -> str:
    """Return a mistake that the router's extended validation refuses; ignore the Route's keys and certificates."""
    if tls is None:
        return ""
    termination = tls.get("termination", "")
    if termination not in TERMINATIONS:
        return f"spec.tls.termination: {termination!r} is none of {', '.join(TERMINATIONS)}"
    forbidden = {"passthrough": CERTIFICATES, "edge": ("destinationCACertificate",)}.get(termination, ())
    if given := [name for name in forbidden if tls.get(name)]:
        return f"spec.tls.{given[0]}: {termination} has no use for it"
    policy = tls.get("insecureEdgeTerminationPolicy") or "None"
    if policy not in TERMINATIONS[termination]:
        return f"spec.tls.insecureEdgeTerminationPolicy: {policy} does not go with {termination}"
    if tls.get("destinationCACertificate"):
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=tls["destinationCACertificate"])
        except (ssl.SSLError, ValueError) as error:
            return f"spec.tls.destinationCACertificate: {error}"
    return ""


def _path(route: Object) -> str:
    path: str = route["spec"].get("path", "")
    return path


def _age(route: Object) -> tuple[str, str]:
    return route["metadata"]["creationTimestamp"], route["metadata"]["uid"]
