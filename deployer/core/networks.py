"""Lists of networks that may reach a server: written so that no router can read them in another way."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Where the compute nodes of CSC's machines come from (docs.csc.fi, August 2026).
KNOWN: Final[Mapping[str, str]] = MappingProxyType({"roihu": "86.50.172.0/27", "lumi": "193.167.209.160/28"})

# Narrower than what `ipaddress` takes: no netmask (`10.0.0.0/0.0.0.255` is another network to a router), no leading
# zeros, no scope, no dotted quad inside an IPv6 address.
_V4: Final = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})(?:/(?:0|[1-9][0-9]?))?")
_V6: Final = re.compile(r"[0-9A-Fa-f:]{2,39}(?:/(?:0|[1-9][0-9]{0,2}))?")
# A router looks IPv4 clients up among IPv6 networks too, as ::ffff:a.b.c.d (HAProxy, pattern.c, pat_match_ip).
_V4_AS_V6: Final = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "::/96")))
_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")


def network(item: str) -> Network:
    """Return the network that `item` names: an address, address/prefix, or one of `KNOWN`.

    Raises:
        ValueError: it is none, or a router could take it for another one.
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
    """Return the whole internet where the items make it up, alone or together, None where they do not."""
    found = [network(item) for item in items]
    whole: list[Network] = [
        *ipaddress.collapse_addresses([each for each in found if isinstance(each, ipaddress.IPv4Network)]),
        *ipaddress.collapse_addresses([each for each in found if isinstance(each, ipaddress.IPv6Network)]),
    ]
    return next((str(each) for each in whole if each.prefixlen == 0), None)


def written(items: Iterable[str]) -> str:
    """Return networks as routers take them: canonical, each once, with single spaces between them."""
    return " ".join(dict.fromkeys(str(network(item)) for item in items))
