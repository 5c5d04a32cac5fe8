"""Determines from a server's Ingress, HTTPRoute or Route whether a controller serves it; sends no request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployer.core.errors import one_line
from deployer.core.remedies import Hint, Remedy

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """Why outside traffic does not reach a server, and what a person can do."""

    reason: str
    hint: Hint


def ingress_problem(ingress: Object) -> Problem | None:
    """Return why an Ingress is not served, or None if no problem is known."""
    if ((ingress.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return None
    wanted = ingress["spec"].get("ingressClassName")
    name = ingress["metadata"]["name"]
    return Problem(
        f"no ingress controller serves Ingress {name}"
        + (f" of class {wanted!r}" if wanted else ", which names no class"),
        Remedy.CHOOSE_INGRESS_CLASS,
    )


@dataclass(frozen=True)
class RouteState:
    """The host under which a Route is served, or the problem. Both are None until a router has processed the Route.

    `cname` is the name that a custom host name must be a CNAME of.
    """

    host: str | None = None
    problem: Problem | None = None
    cname: str | None = None


def route_state(route: Object) -> RouteState:
    """Return the state of an OpenShift Route (route.openshift.io/v1, status.ingress)."""
    problem = None
    for ingress in (route.get("status") or {}).get("ingress") or ():
        host = str(ingress.get("host") or "")
        if host != route["spec"].get("host"):
            continue  # the status of an earlier host of the Route
        for condition in ingress.get("conditions") or ():
            if condition.get("type") != "Admitted":
                continue
            if condition.get("status") == "True":
                return RouteState(host, cname=ingress.get("routerCanonicalHostname"))
            said = one_line(f"{condition.get('reason', '')}: {condition.get('message', '')}")
            claimed = condition.get("reason") == "HostAlreadyClaimed"
            hint = Remedy.CHOOSE_OTHER_HOST_OR_NAME if claimed else Remedy.ASK_OR_CHOOSE_EXPOSURE
            problem = Problem(f"the router does not serve host {host!r} ({said})", hint)
    return RouteState(problem=problem)


def http_route_problem(route: Object) -> Problem | None:
    """Return why an HTTPRoute is not served, or None if no problem is known."""
    parents = (route.get("status") or {}).get("parents") or ()
    gateways = ", ".join(f"{ref.get('namespace')}/{ref['name']}" for ref in route["spec"].get("parentRefs") or ())
    if not parents:
        return Problem(f"no controller has accepted the HTTPRoute to Gateway {gateways}", Remedy.CHECK_GATEWAY)
    for parent in parents:
        for condition in parent.get("conditions") or ():
            if condition.get("status") != "True":
                said = one_line(f"{condition.get('reason', '')}: {condition.get('message', '')}")
                return Problem(
                    f"Gateway {gateways} does not serve the HTTPRoute ({said})",
                    "does its listener take this host name, and routes of this namespace? ask who runs the Gateway",
                )
    return None
