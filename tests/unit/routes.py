"""Routes and EndpointSlices for the tests of the testbed's router, and names of source files of OpenShift's router.

A row of those tests names a line of https://github.com/openshift/router at commit
4b401a86dccc657a8a5254c2794a312241f40e87 (August 2026), which makes the same decision.
"""

from __future__ import annotations

from typing import Any

from tests.testbed.openshift import haproxy

DOMAIN = "apps.example"
HAPROXY = "haproxy.router.openshift.io/"
ROUTER = "router.openshift.io/"
LIST = f"{HAPROXY}ip_allowlist"
OLD_LIST = f"{HAPROXY}ip_whitelist"
UNIQUE = "pkg/router/controller/unique_host.go"
HELPERS = "pkg/router/template/template_helper.go"
TEMPLATE = "images/router/haproxy/conf/haproxy-config.template"
MAPS = "pkg/router/template/util/haproxy/map_entry.go"
PATTERNS = "pkg/router/template/util/util.go"
VALIDATION = "pkg/router/routeapihelpers/validation.go"
REWRITE = "pkg/router/template/util/rewritetarget/rewritetarget.go"
EDGE = {"termination": "edge"}
REDIRECT = {**EDGE, "insecureEdgeTerminationPolicy": "Redirect"}
ALLOW = {**EDGE, "insecureEdgeTerminationPolicy": "Allow"}
REENCRYPT = {"termination": "reencrypt"}
PASSTHROUGH = {"termination": "passthrough"}


def route(name: str = "a", namespace: str = "ns", *, born: int = 0, annotated: Any = None, **spec: Any) -> Any:
    """Return a Route with its own host, unless the spec gives another host (None: no such key)."""
    wanted = {"host": "a.example", "to": {"kind": "Service", "name": "web"}, **spec}
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "annotations": annotated or {}}
    created = f"2026-08-01T00:00:{born:02}Z"
    content = {key: value for key, value in wanted.items() if value is not None}
    return {"metadata": {**metadata, "creationTimestamp": created}, "spec": content}


def slices(*addresses: str) -> list[Any]:
    """Return the EndpointSlice of the Service `web` with the ports http (8080) and metrics (9090)."""
    metadata = {"name": "web-1", "namespace": "ns", "labels": {"kubernetes.io/service-name": "web"}}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "metrics", "port": 9090, "protocol": "TCP"}]
    pods = [
        {"addresses": [address], "targetRef": {"kind": "Pod", "name": f"web-{number}"}}
        for number, address in enumerate(addresses)
    ]
    return [{"metadata": metadata, "ports": ports, "endpoints": pods}]


def section(given: Any, *addresses: str) -> list[str]:
    """Return the lines of a Route's backend."""
    text = haproxy.plan([given], slices(*addresses), DOMAIN).files["haproxy.cfg"]
    _, _, found = text.partition(f":{given['metadata']['namespace']}:{given['metadata']['name']}\n")
    return [line.strip() for line in found.splitlines()]
