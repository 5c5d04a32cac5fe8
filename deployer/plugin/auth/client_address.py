"""Finds the address of a request's client, and the address or network that limits count as one client."""

from __future__ import annotations

import ipaddress
from collections.abc import MutableMapping
from typing import Any

IPV6_SITE = 64  # bits


def client_address(scope: MutableMapping[str, Any], *, forwarded: bool) -> str:
    """Return the address of the peer; behind one proxy (`forwarded`), the last address in X-Forwarded-For.

    Earlier addresses in that header come from the client and do not count.
    """
    peer = str((scope.get("client") or ("-",))[0])
    if not forwarded:
        return peer
    last = [value for name, value in scope["headers"] if name == b"x-forwarded-for"][-1:]
    return _without_port(b"".join(last).rpartition(b",")[2].strip().decode("latin-1")[:64]) or peer


def _without_port(address: str) -> str:
    """Return an address without the port that some proxies append; the port differs with each connection."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    host, _, port = address.partition(":")
    return host if port.isdecimal() else address


def site(address: str) -> str:
    """Return the address that stands for a client: its IPv4 address, or its IPv6 network."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found.packed, IPV6_SITE), strict=False))
