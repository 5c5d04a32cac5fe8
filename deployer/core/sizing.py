"""Computes memory, CPU and connection pools instead of guessing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deployer.core.stack import Resources

# Upper bounds of the results of `make bench-logins`, in MiB: one process at rest, one further process after a load, and
# the peak of 500 people who log in for the first time at once. Each login check takes 32. At most two checks run at
# once (plugin/auth/verified_passwords.py). The room of the others is for requests: large searches, metrics, artifacts.
SERVER_AT_REST_MIB: Final = 288
FURTHER_WORKER_MIB: Final = 160
COLD_LOGIN_MIB: Final = 32
CONCURRENT_COLD_LOGINS: Final = 7

# Threads of one process that serve requests (AnyIO's default limiter, anyio.to_thread), if connections are not scarce.
MOST_THREADS: Final = 40
FEWEST_THREADS: Final = 4
# log_batch with the tag mlflow.runName opens four nested sessions (`_set_tags`, `set_tag`, `update_run_info` of
# mlflow/store/tracking/sqlalchemy_store.py). If no connection is left for the innermost session, all requests wait for
# each other.
SESSIONS_PER_REQUEST: Final = 4
SPARE_CONNECTIONS: Final = 4  # per process, for that innermost session and the readiness checks
AUTH_CONNECTIONS: Final = 8  # per process; no caller holds two of them, so others only wait
# Connections of all processes together to one PostgreSQL. Of its default `max_connections` of 100, three are reserved
# for superusers, and some are left for backups and for people who inspect the database.
SHARED_CONNECTIONS: Final = 90
MOST_KEPT: Final = 10  # connections that a pool keeps open

# The ratio of limit to request stays below 5, the maximum of clusters such as Rahti.
CPU_REQUEST_MILLICORES: Final = 250
CPU_LIMIT_MILLICORES: Final = 1000


_BYTES: Final = {"Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def in_bytes(quantity: str) -> int:
    """Return a size such as `32Mi` (spec.py Quantity) in bytes."""
    return int(quantity[:-2]) * _BYTES[quantity[-2:]]


@dataclass(frozen=True)
class Pool:
    """The connections of one SQLAlchemy engine: `size` stay open, `overflow` more are opened and closed as needed."""

    size: int
    overflow: int


def threads(workers: int, *, shared: bool) -> int:
    """Return how many requests each process serves at once; `shared`: on a PostgreSQL, where connections are scarce."""
    if not shared:
        return MOST_THREADS
    of_one = SHARED_CONNECTIONS // workers - SPARE_CONNECTIONS - AUTH_CONNECTIONS
    return min(MOST_THREADS, max(FEWEST_THREADS, of_one // (SESSIONS_PER_REQUEST - 1)))


def pool(threads: int) -> Pool:
    """Return the pool for runs and models, large enough that the requests of one process cannot deadlock on it.

    If every request holds all but its last connection, at least one connection is left.
    """
    most = threads * (SESSIONS_PER_REQUEST - 1) + SPARE_CONNECTIONS
    size = min(MOST_KEPT, threads)
    return Pool(size=size, overflow=most - size)


def connections(workers: int) -> int:
    """Return how many connections `workers` processes open at most to PostgreSQL, to both databases together."""
    one = pool(threads(workers, shared=True))
    return workers * (one.size + one.overflow + AUTH_CONNECTIONS)


def server_resources(workers: int = 1) -> Resources:
    """Return what a server with `workers` processes reserves and may use."""
    # several workers have one supervisor process, which only watches them and shares all its memory with them
    working = SERVER_AT_REST_MIB + (workers - 1) * FURTHER_WORKER_MIB + CONCURRENT_COLD_LOGINS * COLD_LOGIN_MIB
    return Resources(
        cpu_request=CPU_REQUEST_MILLICORES * workers,
        cpu_limit=CPU_LIMIT_MILLICORES * workers,
        memory_request=working,
        memory_limit=2 * working,
    )
