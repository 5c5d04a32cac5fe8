"""Translates NetworkPolicies: takes the API's pods, namespaces and policies, returns one nftables table. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

Object = dict[str, Any]

# `return`, never `accept`: the policies of both sender and receiver must allow a connection
TABLE = """\
table ip netpol
delete table ip netpol
table ip netpol {{
{chains}
 chain k_pods {{
  ct state established,related return
  {senders}
  {receivers}
 }}
 chain k_forward {{ type filter hook forward priority -5; policy accept; jump k_pods; }}
 chain k_input {{ type filter hook input priority -5; policy accept;
  ct state established,related return
  {senders}
 }}
}}
"""


@dataclass(frozen=True)
class Direction:
    """The direction of a pod's connection, with its names in Kubernetes and nftables."""

    name: str
    peers: str
    address: str


INGRESS = Direction("Ingress", "from", "saddr")
EGRESS = Direction("Egress", "to", "daddr")


@dataclass(frozen=True)
class Cluster:
    pods: list[Object]
    namespaces: dict[str, dict[str, str]]
    policies: list[Object]


def ruleset(pods: Iterable[Object], namespaces: Iterable[Object], policies: Iterable[Object]) -> str:
    """Return the whole table, to be replaced in one transaction; equal objects give equal text."""
    cluster = Cluster(
        sorted(filter(_filtered, pods), key=_address),
        {item["metadata"]["name"]: _labels(item) for item in namespaces},
        list(policies),
    )
    chains: list[str] = []
    verdicts: dict[Direction, list[str]] = {INGRESS: [], EGRESS: []}
    for number, pod in enumerate(cluster.pods):
        for direction, jumps in verdicts.items():
            rules = _rules(cluster, pod, direction)
            if rules is not None:
                # the prefix avoids keywords of nft, such as `all`
                chain = f"k_{direction.name.lower()}{number}"
                body = "\n  ".join([*rules, "counter drop"])
                chains.append(f" chain {chain} {{\n  {body}\n }}")
                jumps.append(f"{_address(pod)} : jump {chain}")
    return TABLE.format(
        chains="\n".join(chains),
        senders=_verdict_map("saddr", verdicts[EGRESS]),
        receivers=_verdict_map("daddr", verdicts[INGRESS]),
    )


def _filtered(pod: Object) -> bool:
    """Tell whether a pod has an address of its own and still uses it."""
    status = pod.get("status", {})
    own = status.get("podIP") and not pod["spec"].get("hostNetwork")
    return bool(own) and status.get("phase") in {"Pending", "Running"}


def _rules(cluster: Cluster, pod: Object, direction: Direction) -> list[str] | None:
    """Return the rules for accepted connections; None if no policy isolates the pod in this direction."""
    isolating = [policy for policy in cluster.policies if _selects(policy, pod) and _covers(policy, direction)]
    if not isolating:
        return None
    # a pod can always connect to itself, even through a Service
    rules = [f"ip {direction.address} {_address(pod)} return"]
    for policy in isolating:
        for rule in policy["spec"].get(direction.name.lower()) or []:
            rules += _rule(cluster, policy["metadata"]["namespace"], rule, pod, direction)
    return rules


def _covers(policy: Object, direction: Direction) -> bool:
    default = ["Ingress", "Egress"] if policy["spec"].get("egress") else ["Ingress"]
    return direction.name in (policy["spec"].get("policyTypes") or default)


def _selects(policy: Object, pod: Object) -> bool:
    same = policy["metadata"]["namespace"] == pod["metadata"]["namespace"]
    return same and matches(policy["spec"].get("podSelector") or {}, _labels(pod))


def _rule(cluster: Cluster, namespace: str, rule: Object, pod: Object, direction: Direction) -> Iterator[str]:
    peers = rule.get(direction.peers)
    if not peers:
        everyone = cluster.pods if direction is EGRESS else [pod]
        for ports, owners in _ports(rule.get("ports"), everyone):
            narrowed = f"ip daddr {_set(owners)} " if owners is not None and direction is EGRESS else ""
            yield f"{narrowed}{ports}return"
        return
    for peer in peers:
        if "ipBlock" in peer:
            yield from _block(peer["ipBlock"], rule.get("ports"), pod, direction)
            continue
        found = [other for other in cluster.pods if _is_peer(cluster, namespace, peer, other)]
        # look up a port's name in the receiving pod
        for ports, owners in _ports(rule.get("ports"), found if direction is EGRESS else [pod]):
            addressed = owners if owners is not None and direction is EGRESS else found
            if addressed:
                yield f"ip {direction.address} {_set(addressed)} {ports}return"


def _block(block: Object, ports: list[Object] | None, pod: Object, direction: Direction) -> Iterator[str]:
    if ip_network(block["cidr"], strict=False).version != 4:
        return
    excepted = [cidr for cidr in block.get("except") or [] if ip_network(cidr, strict=False).version == 4]
    but = f"ip {direction.address} != {{ {', '.join(excepted)} }} " if excepted else ""
    # addresses outside pods have no port names
    for matched, _ in _ports(ports, [pod] if direction is INGRESS else []):
        yield f"ip {direction.address} {block['cidr']} {but}{matched}return"


def _is_peer(cluster: Cluster, namespace: str, peer: Object, other: Object) -> bool:
    theirs = other["metadata"]["namespace"]
    if peer.get("namespaceSelector") is None:
        there = theirs == namespace
    else:
        there = matches(peer["namespaceSelector"], cluster.namespaces.get(theirs, {}))
    return there and matches(peer.get("podSelector") or {}, _labels(other))


def _ports(ports: list[Object] | None, receivers: list[Object]) -> Iterator[tuple[str, list[Object] | None]]:
    """Yield each port as an nft match; for a port's name, also the pods with this port."""
    for port in ports or [{"any": True}]:
        protocol = port.get("protocol", "TCP").lower()
        number = port.get("port")
        if port.get("any"):
            yield "", None
        elif number is None:
            yield f"meta l4proto {protocol} ", None
        elif isinstance(number, int):
            end = f"-{port['endPort']}" if port.get("endPort") else ""
            yield f"{protocol} dport {number}{end} ", None
        else:
            owners: dict[int, list[Object]] = {}
            for pod in receivers:
                for listening in _named(pod, number, protocol):
                    owners.setdefault(listening, []).append(pod)
            for listening, pods in sorted(owners.items()):
                yield f"{protocol} dport {listening} ", pods


def _named(pod: Object, name: str, protocol: str) -> Iterator[int]:
    for container in pod["spec"]["containers"]:
        for port in container.get("ports") or []:
            if port.get("name") == name and port.get("protocol", "TCP").lower() == protocol:
                yield port["containerPort"]


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Tell whether labels match a selector: all its labels and all its expressions; an empty selector matches all."""
    wanted = (selector.get("matchLabels") or {}).items()
    expressions = selector.get("matchExpressions") or []
    return all(labels.get(key) == value for key, value in wanted) and all(
        _holds(expression, labels.get(expression["key"])) for expression in expressions
    )


def _holds(expression: Object, value: str | None) -> bool:
    match expression["operator"]:
        case "In":
            return value in expression["values"]
        case "NotIn":
            return value not in expression["values"]
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case unknown:
            raise ValueError(f"no such operator of a label selector: {unknown}")


def _labels(item: Object) -> dict[str, str]:
    return item["metadata"].get("labels") or {}


def _address(pod: Object) -> str:
    return str(pod["status"]["podIP"])


def _set(pods: Iterable[Object]) -> str:
    return f"{{ {', '.join(sorted(map(_address, pods)))} }}"


def _verdict_map(address: str, jumps: list[str]) -> str:
    return f"ip {address} vmap {{ {', '.join(jumps)} }}" if jumps else ""
