"""Runs uvicorn in one process, and checks its connections and its log once a second; does not import deployer."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn

from ..bodies.size_limits import Closing
from . import connections, descriptors, freed_memory, http_parsing, log_limits
from .http_protocol import Connection

GRACEFUL_SHUTDOWN_SECONDS = 10
# Longer than a proxy keeps an idle connection (Traefik 90, nginx 60). Otherwise a proxy's request on a connection that
# is just being closed ends with 502.
KEEP_ALIVE_SECONDS = 120
TICKS_PER_SECOND = 10  # uvicorn/server.py `main_loop`


class Server(uvicorn.Server):  # type: ignore[misc]  # uvicorn is installed only for the server
    """uvicorn's server, which calls `every_second` from its main loop, so that no request needs a timer."""

    def __init__(self, config: Any, every_second: Callable[[], None]) -> None:
        super().__init__(config)
        self._every_second = every_second

    async def on_tick(self, counter: int) -> bool:
        """Call `every_second` when it is due; return whether to stop."""
        if counter % TICKS_PER_SECOND == 0:
            self._every_second()
        return bool(await super().on_tick(counter))


def run(app: Any, listener: socket.socket, *, evenly: bool = False) -> None:
    """Serve `app` on `listener` until SIGTERM or SIGINT; `evenly` says that other processes serve the same socket."""
    http_parsing.install()
    register = connections.Register(time.monotonic, connections.LIMITS)
    config = uvicorn.Config(
        Closing(app),
        http=partial(Connection, register),
        ws="none",  # MLflow serves no WebSockets, and the login checks do not cover them
        loop="asyncio",  # `http_protocol` and `descriptors` rely on its transports and sockets
        h11_max_incomplete_event_size=http_parsing.LARGEST_HEAD,
        workers=1,
        access_log=False,
        proxy_headers=False,  # auth/client_address.py reads the address: uvicorn would believe any local client
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
        log_level="info",
        lifespan="on",  # without lifespan events, the threads are not bounded
    )
    repeats = log_limits.Repeats()
    log_limits.install(repeats)  # after uvicorn has set up its loggers

    def every_second() -> None:
        try:
            register.sweep()
            descriptors.watch_reserve(register)
            if register.burst_has_ended():
                freed_memory.give_back()
            repeats.flush()
            log_limits.keep_newest()
        except Exception:
            logging.getLogger("deployer").exception("cannot look after connections and the log")  # serving goes on

    shared = descriptors.Listener(fileno=listener.detach(), connections=register, evenly=evenly)
    Server(config, every_second).run(sockets=[shared])
