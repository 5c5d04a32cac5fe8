"""The socket that the server listens on."""

from __future__ import annotations

import os
import socket

from .settings import Refusal

FIRST_INHERITED_FD = 3


def listening_socket() -> socket.socket:
    """Return the socket that was passed to this process, or a new one bound to MLFLOW_HOST and MLFLOW_PORT."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=FIRST_INHERITED_FD)
    host = os.environ.get("MLFLOW_HOST", "127.0.0.1")
    port = int(os.environ.get("MLFLOW_PORT", "5000"))
    try:
        made = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # Create the socket again from its descriptor, to read its protocol from the kernel. asyncio sets TCP_NODELAY
        # only on sockets with a known protocol (asyncio.base_events `_set_nodelay`). Without it, every response of two
        # writes waits 40 ms for a delayed acknowledgement.
        return socket.socket(fileno=made.detach())
    except OSError as error:
        raise Refusal(f"cannot listen on {host} port {port}: {error.strerror}") from error
