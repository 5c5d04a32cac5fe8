"""The address that a local server listens on and the address for clients, as written in URLs and ssh commands."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

LOOPBACK: Final = "127.0.0.1"
_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
# the last label needs a letter: programs read `1.2` and `5000` as IP addresses (inet_aton(3))
_NAME: Final = re.compile(rf"(?=.{{1,253}}\Z)({_LABEL}\.)*(?=[0-9-]*[a-z]){_LABEL}")


def canonical(text: str) -> str:
    """Return a host name in lower case, or an IP address in its canonical form.

    Raises:
        ValueError: `text` is neither, or is an IPv6 address with a zone.
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
    """Tell whether a server listens on all addresses of the machine."""
    return listen in {"0.0.0.0", "::"}  # noqa: S104  # compared, not bound


def announced(listen: str | None, node: str) -> str | None:
    """Return the host name for clients; None on the loopback interface. `node` is the machine's own name."""
    if listen in {None, LOOPBACK, "localhost"}:
        return None
    return node.lower() if everywhere(listen) else listen


def at_loopback(host: str | None) -> bool:
    """Tell whether a host for clients is on the loopback interface, which other machines cannot reach."""
    return host is None or host in {LOOPBACK, "localhost", "::1"} or host.startswith("127.")


def written(host: str) -> str:
    """Return a host as URLs need it: an IPv6 address gets brackets."""
    return f"[{host}]" if ":" in host else host


def url(host: str | None, port: int) -> str:
    """Return the server's URL for clients."""
    return f"http://{written(host or LOOPBACK)}:{port}"


def forwarding(host: str | None, port: int, node: str, user: str) -> str:
    """Return the ssh command that forwards a port of a laptop to the same port of the server.

    If the server listens on the loopback interface, the command logs in to `node`. Otherwise the machine to log in to
    is unknown, and the command contains the placeholder LOGIN-NODE.
    """
    if at_loopback(host):
        return f"ssh -N -L {port}:{written(host or LOOPBACK)}:{port} {user}@{node}"
    return f"ssh -N -L {port}:{written(host or LOOPBACK)}:{port} {user}@LOGIN-NODE"
