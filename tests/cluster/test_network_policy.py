"""NetworkPolicies are enforced: pods try to connect, for every form of a peer and of a port."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster.pods import pod, ready, run_in
from tests.testbed.cluster import RESTRICTED, Cluster
from tests.testbed.command import CommandFailed, wait_until

pytestmark = pytest.mark.full_scale

PORTS = (8080, 9090)
LISTEN = "cd /tmp; python3 -m http.server 9090 & exec python3 -m http.server 8080"
# client: namespace, role
CLIENTS = {
    "near": ("here", "client"),
    "near-other": ("here", "other"),
    "far": ("there", "client"),
    "far-other": ("there", "other"),
}
EVERYONE = {(client, port) for client in CLIENTS for port in PORTS}
CLIENT = {"podSelector": {"matchLabels": {"role": "client"}}}
THERE = {"namespaceSelector": {"matchLabels": {"place": "there"}}}


def _role(operator: str, *values: str) -> dict[str, Any]:
    expression = {"key": "role", "operator": operator, **({"values": list(values)} if values else {})}
    return {"podSelector": {"matchExpressions": [expression]}}


def _reach(*clients: str, ports: tuple[int, ...] = PORTS) -> set[tuple[str, int]]:
    return {(client, port) for client in clients for port in ports}


# name: one ingress rule (None: no rule), the clients that can connect and the ports
RULES: dict[str, tuple[dict[str, Any] | None, set[tuple[str, int]]]] = {
    "nothing is allowed": (None, set()),
    "an empty rule allows all": ({}, EVERYONE),
    "a pod selector is of the policy's namespace": ({"from": [CLIENT]}, _reach("near")),
    "an empty pod selector is the whole namespace": ({"from": [{"podSelector": {}}]}, _reach("near", "near-other")),
    "a namespace selector is all its pods": ({"from": [THERE]}, _reach("far", "far-other")),
    "both in one peer must both hold": ({"from": [{**THERE, **CLIENT}]}, _reach("far")),
    "two peers are alternatives": ({"from": [THERE, CLIENT]}, _reach("near", "far", "far-other")),
    "In": ({"from": [_role("In", "client", "x")]}, _reach("near")),
    "NotIn": ({"from": [_role("NotIn", "client")]}, _reach("near-other")),
    "Exists": ({"from": [_role("Exists")]}, _reach("near", "near-other")),
    "DoesNotExist": ({"from": [_role("DoesNotExist")]}, set()),
    "a port by number": ({"from": [CLIENT], "ports": [{"port": 9090}]}, _reach("near", ports=(9090,))),
    "a port by name": ({"from": [CLIENT], "ports": [{"port": "web"}]}, _reach("near", ports=(8080,))),
    "a range of ports": ({"ports": [{"port": 8000, "endPort": 8100}]}, _reach(*CLIENTS, ports=(8080,))),
    "another protocol": ({"ports": [{"port": 8080, "protocol": "UDP"}]}, set()),
}


@dataclass(frozen=True)
class Town:
    """Two namespaces with a server in one and clients in both."""

    cluster: Cluster
    namespaces: dict[str, str]
    server: str
    addresses: dict[str, str]

    def try_urls(self, client: str, *targets: str) -> list[bool]:
        """Return for each URL whether the client gets a response."""
        script = 'for url; do curl --silent --max-time 1 --output /dev/null "$url" && echo "$url" & done; wait'
        words = run_in(self.cluster, self.namespaces[CLIENTS[client][0]], client, "sh", "-c", script, "sh", *targets)
        return [target in words.split() for target in targets]

    def reached(self) -> set[tuple[str, int]]:
        urls = [f"http://{self.server}:{port}/" for port in PORTS]
        with ThreadPoolExecutor(len(CLIENTS)) as threads:
            answers = dict(zip(CLIENTS, threads.map(lambda client: self.try_urls(client, *urls), CLIENTS), strict=True))
        return {
            (client, port) for client, ports in answers.items() for port, ok in zip(PORTS, ports, strict=True) if ok
        }

    def expect(self, who: set[tuple[str, int]]) -> None:
        wait_until(lambda: self.reached() == who, f"only {sorted(who)} get through", 10)

    def policy(self, name: str, **spec: Any) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespaces["here"]}
        return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}

    def remove_policies(self) -> None:
        self.cluster.kubectl("delete", "networkpolicies", "--all", f"--namespace={self.namespaces['here']}")


@pytest.fixture(scope="module")
def built(cluster: Cluster) -> Iterator[Town]:
    with ExitStack() as stack:
        names = {
            place: stack.enter_context(cluster.namespace(labels={**RESTRICTED, "place": place}))
            for place in ("here", "there")
        }
        ports = [{"name": "web", "containerPort": 8080}]
        probe = {"tcpSocket": {"port": 9090}, "periodSeconds": 1}
        server = pod("server", names["here"], ["sh", "-c", LISTEN], labels={"app": "server"}, ports=ports)
        server["spec"]["containers"][0]["readinessProbe"] = probe
        clients = [pod(name, names[place], labels={"role": role}) for name, (place, role) in CLIENTS.items()]
        service = {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": "web"}]}
        metadata = {"name": "server", "namespace": names["here"]}
        cluster.apply(server, *clients, {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service})
        for name in names.values():
            ready(cluster, name)
        addresses = {}
        for name, place in {"server": "here", **{name: place for name, (place, _) in CLIENTS.items()}}.items():
            ask = ("get", "pod", name, f"--namespace={names[place]}", "--output=jsonpath={.status.podIP}")
            addresses[name] = cluster.kubectl(*ask)
        yield Town(cluster, names, addresses["server"], addresses)


@pytest.fixture
def town(built: Town) -> Iterator[Town]:
    yield built
    built.remove_policies()


@pytest.mark.parametrize("name", RULES)
def test_an_ingress_rule_admits_exactly_its_peers(town: Town, name: str) -> None:
    rule, who = RULES[name]
    town.cluster.apply(
        town.policy("deny", podSelector={}, policyTypes=["Ingress"]),
        town.policy("rule", podSelector={"matchLabels": {"app": "server"}}, ingress=[] if rule is None else [rule]),
    )
    town.expect(who)


def test_an_address_block_admits_all_but_its_exceptions(town: Town) -> None:
    cidr = f"{town.server.rpartition('.')[0]}.0/24"
    block = {"cidr": cidr, "except": [f"{town.addresses['near']}/32"]}
    rule = {"from": [{"ipBlock": block}], "ports": [{"port": "web"}]}
    town.cluster.apply(town.policy("block", podSelector={}, ingress=[rule]))
    town.expect(_reach("near-other", "far", "far-other", ports=(8080,)))


def test_blocked_clients_connect_after_the_policy_is_deleted(town: Town) -> None:
    town.expect(EVERYONE)
    town.cluster.apply(town.policy("deny", podSelector={}, policyTypes=["Ingress"]))
    town.expect(set())
    town.remove_policies()
    town.expect(EVERYONE)


def test_egress_needs_rules_for_dns_and_for_the_port_behind_a_service(town: Town) -> None:
    service = f"http://server.{town.namespaces['here']}/"
    near = {"matchLabels": {"role": "client"}}
    dns = {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
            }
        ],
        "ports": [{"port": 5353, "protocol": protocol} for protocol in ("UDP", "TCP")],
    }
    named = {"to": [{"podSelector": {"matchLabels": {"app": "server"}}}], "ports": [{"port": "web"}]}

    def expect(*wanted: bool) -> None:
        targets = (service, f"http://{town.server}:8080/", f"http://{town.server}:9090/")
        wait_until(lambda: town.try_urls("near", *targets) == list(wanted), f"service, 8080, 9090: {wanted}", 10)

    town.cluster.apply(town.policy("out", podSelector=near, policyTypes=["Egress"]))
    expect(False, False, False)
    town.cluster.apply(town.policy("out", podSelector=near, policyTypes=["Egress"], egress=[named]))
    expect(False, True, False)
    town.cluster.apply(town.policy("out", podSelector=near, policyTypes=["Egress"], egress=[named, dns]))
    expect(True, True, False)
    # permission to send is not permission to receive
    town.cluster.apply(town.policy("in", podSelector={"matchLabels": {"app": "server"}}, policyTypes=["Ingress"]))
    expect(False, False, False)


def test_a_pod_without_egress_cannot_reach_the_api_server(town: Town) -> None:
    api = "https://kubernetes.default.svc/healthz"

    def asks() -> bool:
        try:
            run_in(town.cluster, town.namespaces["here"], "near", "curl", "-sk", "--max-time", "2", api)
        except CommandFailed:
            return False
        return True

    wait_until(asks, "the API answers a pod", 10)
    town.cluster.apply(town.policy("out", podSelector={}, policyTypes=["Egress"]))
    wait_until(lambda: not asks(), "the API is out of reach", 10)
