"""Memory, CPU and connection pools by arithmetic instead of by taste."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deployer.core.stack import Resources

# Upper bounds of what `make bench-logins` measures, MiB: one process at rest, what a further one adds after a load, and
# the peak of 500 people who log in at once for the first time. Each check takes 32; no more than two run at once
# (plugin/fastauth_checks.py), the room of the others is for what requests take: large searches, metrics, artifacts.
SERVER_AT_REST_MIB: Final = 288
FURTHER_WORKER_MIB: Final = 160
COLD_LOGIN_MIB: Final = 32
CONCURRENT_COLD_LOGINS: Final = 7

# Threads of one process that serve requests (AnyIO's default limiter, anyio.to_thread) where nobody counts connections.
MOST_THREADS: Final = 40
FEWEST_THREADS: Final = 4
# log_batch with the tag mlflow.runName opens four sessions, each within the one before (`_set_tags`, `set_tag`,
# `update_run_info` of mlflow/store/tracking/sqlalchemy_store.py): where nobody gets a connection for the last one, all
# wait for one another.
SESSIONS_PER_REQUEST: Final = 4
SPARE_CONNECTIONS: Final = 4  # of one process: that last one, and its readiness
AUTH_CONNECTIONS: Final = 8  # of one process; nobody holds two of them, so that more who want one only wait
# What all processes together may take of a PostgreSQL: of its default `max_connections`, 100, three are kept for its
# superusers, and some are for backups and for whoever looks on.
SHARED_CONNECTIONS: Final = 90
MOST_KEPT: Final = 10  # connections of a pool that stay open

# Limit to request stays below the ratio of 5 that clusters such as Rahti enforce.
CPU_REQUEST_MILLICORES: Final = 250
CPU_LIMIT_MILLICORES: Final = 1000


_BYTES: Final = {"Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def in_bytes(quantity: str) -> int:
    """Return the bytes of a size such as `32Mi` (spec.py Quantity)."""
    return int(quantity[:-2]) * _BYTES[quantity[-2:]]


@dataclass(frozen=True)
class Pool:
    """Connections of one SQLAlchemy engine: `size` stay open, `overflow` more come and go."""

    size: int
    overflow: int


def threads(workers: int, *, shared: bool) -> int:
    """Return how many requests each of the processes serves at once; `shared`: on a PostgreSQL, which counts them."""
    if not shared:
        return MOST_THREADS
    of_one = SHARED_CONNECTIONS // workers - SPARE_CONNECTIONS - AUTH_CONNECTIONS
    return min(MOST_THREADS, max(FEWEST_THREADS, of_one // (SESSIONS_PER_REQUEST - 1)))


def pool(threads: int) -> Pool:
    """Return a pool for runs and models in which requests of one process never wait for one another for ever.

    Where each holds all but its last connection, there is one left.
    """
    most = threads * (SESSIONS_PER_REQUEST - 1) + SPARE_CONNECTIONS
    size = min(MOST_KEPT, threads)
    return Pool(size=size, overflow=most - size)


def connections(workers: int) -> int:
    """Return the most connections to PostgreSQL that so many processes open, to both databases together."""
    one = pool(threads(workers, shared=True))
    return workers * (one.size + one.overflow + AUTH_CONNECTIONS)


def server_resources(workers: int = 1) -> Resources:
    """Return what a server of so many processes reserves and may use."""
    # with several there is one more, which only watches them and shares all it has
    working = SERVER_AT_REST_MIB + (workers - 1) * FURTHER_WORKER_MIB + CONCURRENT_COLD_LOGINS * COLD_LOGIN_MIB
    return Resources(
        cpu_request=CPU_REQUEST_MILLICORES * workers,
        cpu_limit=CPU_LIMIT_MILLICORES * workers,
        memory_request=working,
        memory_limit=2 * working,
    )
