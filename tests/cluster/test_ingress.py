"""A host name below apps.test leads through TLS to a pod: by Ingress and by the Gateway API."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.cluster.pods import ready, web
from tests.testbed.cluster import Cluster
from tests.testbed.command import wait_until


def _ingress(namespace: str, host: str) -> dict[str, Any]:
    backend = {"service": {"name": "web", "port": {"name": "web"}}}
    path = {"path": "/", "pathType": "Prefix", "backend": backend}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"tls": [{"hosts": [host]}], "rules": [{"host": host, "http": {"paths": [path]}}]},
    }


def _http_route(namespace: str, host: str) -> dict[str, Any]:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "parentRefs": [{"name": "shared", "namespace": "ingress", "sectionName": "https"}],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": "web", "port": 80}]}],
        },
    }


@pytest.mark.parametrize("way", [_ingress, _http_route])
def test_a_host_name_leads_to_the_pod_by_verified_tls(cluster: Cluster, namespace: str, way: Any) -> None:
    host = f"{namespace}.{cluster.apps_domain}"
    cluster.apply(*web("web", namespace), way(namespace, host))
    ready(cluster, namespace)
    fetch = ["curl", "--silent", "--show-error", "--max-time", "5", "--cacert", str(cluster.ca_file)]

    def status() -> str:
        command = [*fetch, "--output", "/dev/null", "--write-out", "%{http_code}", f"https://{host}/"]
        done = subprocess.run(cluster.in_network(command), capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    wait_until(lambda: status() == "200", f"{host} by {way.__name__}", 20)


def test_an_ingress_reports_its_address(cluster: Cluster, namespace: str) -> None:
    cluster.apply(_ingress(namespace, f"{namespace}.{cluster.apps_domain}"), *web("web", namespace))
    ask = ("get", "ingress", "web", f"--namespace={namespace}", "--output=jsonpath={.status.loadBalancer.ingress}")
    wait_until(lambda: cluster.node_address in cluster.kubectl(*ask), "the Ingress' address", 20)
