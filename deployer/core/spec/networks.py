"""Lists of networks that may connect to a server, in a form that all routers read in the same way."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Addresses of the compute nodes of CSC's machines (docs.csc.fi, August 2026).
KNOWN: Final[Mapping[str, str]] = MappingProxyType({"roihu": "86.50.172.0/27", "lumi": "193.167.209.160/28"})

# Stricter than `ipaddress`: no netmask (routers read `10.0.0.0/0.0.0.255` as another network), no leading zeros, no
# scope, no dotted quad inside an IPv6 address.
_V4: Final = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})(?:/(?:0|[1-9][0-9]?))?")
_V6: Final = re.compile(r"[0-9A-Fa-f:]{2,39}(?:/(?:0|[1-9][0-9]{0,2}))?")
# Routers also match IPv4 clients, as ::ffff:a.b.c.d, with IPv6 networks (HAProxy, pattern.c, pat_match_ip).
_V4_AS_V6: Final = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "::/96")))
_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")


def network(item: str) -> Network:
    """Return the network that `item` names: an address, address/prefix, or a name in `KNOWN`.

    Raises:
        ValueError: `item` is no network, or a router could read it as another network.
    """
    text = KNOWN.get(item, item)
    if _NAME.fullmatch(text):
        raise ValueError(f"{item!r} is no known network; known are {', '.join(KNOWN)}")
    if not _V4.fullmatch(text) and not _V6.fullmatch(text):
        raise ValueError(f"{item!r} must be an address, or address/prefix such as 86.50.172.0/27")
    try:
        found = ipaddress.ip_network(text, strict=True)
    except ValueError as error:
        raise ValueError(f"{item!r} is no network: {error}") from None
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen and any(map(found.overlaps, _V4_AS_V6)):
        raise ValueError(f"{item!r} has IPv4 addresses written as IPv6; write them as IPv4")
    return found


def everyone(items: Iterable[str]) -> str | None:
    """Return `0.0.0.0/0` or `::/0` if the items together cover that network; None if they cover neither."""
    found = [network(item) for item in items]
    whole: list[Network] = [
        *ipaddress.collapse_addresses([each for each in found if isinstance(each, ipaddress.IPv4Network)]),
        *ipaddress.collapse_addresses([each for each in found if isinstance(each, ipaddress.IPv6Network)]),
    ]
    return next((str(each) for each in whole if each.prefixlen == 0), None)


def written(items: Iterable[str]) -> str:
    """Return networks as routers expect them: canonical, without duplicates, separated by single spaces."""
    return " ".join(dict.fromkeys(str(network(item)) for item in items))
