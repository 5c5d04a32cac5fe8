"""Checks and normalizes NO_PROXY, the list of hosts that clients reach without a proxy."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from deployer.core.errors import one_line

EVERY: Final = "*"

_LABEL: Final = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_NAME: Final = re.compile(rf"(?=.{{1,255}}\Z)(?:\*?\.)?{_LABEL}(?:\.{_LABEL})*")
_PORT: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*):(?P<port>[0-9]{1,5})")
_FORMS: Final = "must be a host such as a.example.org, a domain such as .example.org, an IP address or a network (CIDR)"


def bypass_problem(text: str) -> str | None:
    """Return why `text` cannot be the value of NO_PROXY, or None.

    A valid value is `*` alone, or a comma-separated list of host names, domains (`.example.org`, `*.example.org`), IP
    addresses and networks (CIDR). All items except networks may have a port. Blanks around an item are ignored.
    """
    items = [item.strip(" ") for item in text.split(",")]
    if items == [EVERY]:
        return None
    for number, item in enumerate(items, 1):
        if problem := _item_problem(item):
            shown = one_line(item) if item not in ("", EVERY) and "@" not in item else ""  # before @: maybe a password
            if len(items) == 1:
                return f"{shown} {problem}".lstrip()
            return f"item {number}{f' ({shown})' if shown else ''} {problem}"
    return None


def written(text: str) -> str:
    """Return the list in a form that all clients read: no blanks, and `.example.org` instead of `*.example.org`.

    Python's urllib and requests take the asterisk literally, so the item would match no host
    (urllib.request.proxy_bypass_environment, requests.utils.should_bypass_proxies).
    """
    items = (item.strip(" ") for item in text.split(","))
    return ",".join(item[1:] if item.startswith("*.") else item for item in items)


def _item_problem(item: str) -> str | None:
    if not item:
        return "is empty"
    if item == EVERY:
        return "is *, which must be the only one: it means every host"
    if "://" in item:
        return "has a scheme; a host has none"
    if "/" in item:
        return _network_problem(item)
    host = item
    if not _is_address(item) and (match := _PORT.fullmatch(item)):
        host = match["host"]
        if not 0 < int(match["port"]) < 65536:
            return "has a wrong port: a port is a number from 1 to 65535"
        if host.startswith("["):
            return None if _is_address(host[1:-1]) else _FORMS
    if _is_address(host):
        return None
    if not _NAME.fullmatch(host) or re.fullmatch(r"[0-9.]+", host):
        return _FORMS
    return None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _network_problem(item: str) -> str | None:
    try:
        ipaddress.ip_network(item, strict=False)
    except ValueError:
        return _FORMS
    # Python accepts `10.0.0.0/255.0.0.0` as a network, Go does not
    return None if re.fullmatch(r"[0-9]{1,3}", item.rpartition("/")[2]) else _FORMS
