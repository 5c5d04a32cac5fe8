"""Makes MLflow 3.17 send the calls of guardrails to this server; does not import deployer.

A guardrail of a gateway endpoint asks a language model through the server's own routes. MLflow 3.17 takes the address
for this call from the request's Host header (mlflow/server/asgi_utils.py `get_server_base_url`), and does not check the
address (mlflow/gateway/guardrails.py, `ssrf_protect=False`). The list of allowed hosts accepts every port of localhost,
because tunnels may use any port. So a user could send the call to another program on this machine, and this program
could answer in place of the model. MLflow 3.18 calls the address at which the server has received the request
(`get_server_self_url`). This module makes 3.17 call the address at which the server listens, and adds this address to
the allowed hosts.
"""

from __future__ import annotations

import ipaddress
import os
import socket

HOSTS = "MLFLOW_SERVER_ALLOWED_HOSTS"
OWN = "DEPLOYER_OWN_ADDRESS"  # HOST:PORT at which the server reaches itself; `announce` sets this variable


def authority(host: str, port: int) -> str:
    """Return the HOST:PORT at which a server reaches itself; `host` is the IP address that the server listens on."""
    address = ipaddress.ip_address(host)
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def announce(listener: socket.socket) -> None:
    """Store the address of the server's socket for `install`; call this before MLflow reads the allowed hosts."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    own = authority(*listener.getsockname()[:2])
    os.environ[OWN] = own
    if hosts := os.environ.get(HOSTS):
        os.environ[HOSTS] = f"{hosts},{own}"


def is_needed() -> bool:
    """Tell whether guardrails of this MLflow call the address in the Host header."""
    from mlflow.gateway import guardrail_utils

    return hasattr(guardrail_utils, "get_server_base_url")


def install() -> None:
    """Let guardrails call the announced address, unless this release of MLflow already does."""
    from mlflow.gateway import guardrail_utils

    own = os.environ.get(OWN)
    if own is None or not is_needed():
        return
    guardrail_utils.get_server_base_url = lambda _request: f"http://{own}"
