"""What a local server listens at and is announced under, and how that is written in URLs and on an ssh command line."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

LOOPBACK: Final = "127.0.0.1"
_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
# the last label has a letter: programs take `1.2` and `5000` for addresses (inet_aton(3))
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z)({_LABEL}\.)*(?=[0-9-]*[a-z]){_LABEL}")


def canonical(text: str) -> str:
    """Return a host name in lower case, or an IP address in the one spelling that everything knows.

    Raises:
        ValueError: it is neither.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is not None and "%" not in text:
        return str(address)
    if not _NAME.fullmatch(text.lower()):
        raise ValueError("must be a host name or an IP address of this machine, without scheme or port")
    return text.lower()


def everywhere(listen: str | None) -> bool:
    """Tell whether a server listens at every address of the machine."""
    return listen in {"0.0.0.0", "::"}  # noqa: S104  # compared, not bound


def announced(listen: str | None, node: str) -> str | None:
    """Return the name that clients are told; None at the loopback. `node` is the machine's own name."""
    if listen in {None, LOOPBACK, "localhost"}:
        return None
    return node.lower() if everywhere(listen) else listen


def at_loopback(host: str | None) -> bool:
    """Tell whether an announced host means, on any other machine, that other machine itself."""
    return host is None or host in {LOOPBACK, "localhost", "::1"} or host.startswith("127.")


def written(host: str) -> str:
    """Return a host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def url(host: str | None, port: int) -> str:
    """Return the address that clients use."""
    return f"http://{written(host or LOOPBACK)}:{port}"


def forwarding(host: str | None, port: int, node: str, user: str) -> str:
    """Return the ssh command that brings a server to the same port of somebody's laptop.

    A server at the loopback of `node` is reached by logging in there. Which machine a laptop can log in to for any
    other is not known here: LOGIN-NODE stands for it.
    """
    if at_loopback(host):
        return f"ssh -N -L {port}:{written(host or LOOPBACK)}:{port} {user}@{node}"
    return f"ssh -N -L {port}:{written(host or LOOPBACK)}:{port} {user}@LOGIN-NODE"
