"""The number of a cluster on this machine, and the names and addresses that follow from the number."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from tests.testbed.command import run

# the same in every cluster: each node has its own mount and process namespaces
INSIDE = Path("/run/testbed")
API_PORT = 6443
NUMBERS = range(1, 255)
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Place:
    number: int

    @property
    def link(self) -> str:
        return f"testbed{self.number}"

    @property
    def cgroup(self) -> str:
        return f"testbed{self.number}"

    @property
    def network(self) -> str:
        """The host has .1 and .4, the node has .2 and .3; .5 and .6 are free."""
        return f"10.209.{self.number}.0/29"

    @property
    def host_address(self) -> str:
        return f"10.209.{self.number}.1"

    @property
    def node_address(self) -> str:
        return f"10.209.{self.number}.2"

    @property
    def router_address(self) -> str:
        """The node's second address, whose ports 80 and 443 belong to OpenShift's router."""
        return f"10.209.{self.number}.3"

    @property
    def other_host_address(self) -> str:
        """A second source address of the host, so that tests can act as two clients."""
        return f"10.209.{self.number}.4"

    @property
    def pods(self) -> str:
        return f"10.210.{self.number}.0/24"

    @property
    def pods_gateway(self) -> str:
        return f"10.210.{self.number}.1"

    @property
    def services(self) -> str:
        return f"10.211.{self.number}.0/24"

    @property
    def api_service(self) -> str:
        return f"10.211.{self.number}.1"

    @property
    def dns_service(self) -> str:
        return f"10.211.{self.number}.10"

    @property
    def dns_for_host(self) -> str:
        """A DNS server that refuses names outside the cluster, so that the host's resolver asks its next server."""
        return f"10.211.{self.number}.11"

    @property
    def api_server(self) -> str:
        return f"https://{self.node_address}:{API_PORT}"

    def cgroup_folders(self) -> list[Path]:
        """Return a folder in each cgroup v1 hierarchy and in the v2 tree, or only the one in cgroup v2."""
        if (CGROUPS / "cgroup.controllers").exists():
            return [CGROUPS / self.cgroup]
        hierarchies = {folder.resolve() for folder in CGROUPS.iterdir() if folder.is_dir()}
        return [folder / self.cgroup for folder in sorted(hierarchies)]


def free() -> Place:
    """Return the first number with unused link, cgroups and addresses; call this and use the number under one lock."""
    links = {link["ifname"] for link in json.loads(run("ip", "-j", "link"))}
    taken = _taken_networks()
    for number in NUMBERS:
        place = Place(number)
        wanted = [ipaddress.ip_network(network) for network in (place.network, place.pods, place.services)]
        if place.link in links or any(folder.exists() for folder in place.cgroup_folders()):
            continue
        if not any(ours.overlaps(theirs) for ours in wanted for theirs in taken):
            return place
    raise RuntimeError("254 test clusters are on this machine, or remains of them: ip link, /sys/fs/cgroup")


def _taken_networks() -> list[ipaddress.IPv4Network]:
    """Return the networks of this machine's links, and all routed networks that are no larger than ours.

    A wide route, for example of a VPN, may overlap: the cluster's narrower routes win.
    """
    found = []
    for route in json.loads(run("ip", "-j", "-4", "route", "show", "table", "all")):
        if route["dst"] == "default" or route.get("type") in {"local", "broadcast"}:
            continue
        network = ipaddress.IPv4Network(route["dst"], strict=False)
        if "gateway" not in route or network.prefixlen >= 24:
            found.append(network)
    return found
