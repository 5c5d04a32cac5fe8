"""Memory, CPU and connection pools by arithmetic instead of by taste."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deployer.core.stack import Resources

# Measured on MLflow 3.17 with basic auth: 254 MiB PSS at rest in one process, 640 MiB at eight cold logins
# (each scrypt check takes 32 MiB).
SERVER_AT_REST_MIB: Final = 256
FURTHER_WORKER_MIB: Final = 160
COLD_LOGIN_MIB: Final = 32
CONCURRENT_COLD_LOGINS: Final = 8

# AnyIO's default thread limiter, which bounds the requests one process works on (anyio.to_thread).
THREADS_PER_PROCESS: Final = 40
# log_batch holds one session and opens a second (mlflow/store/tracking/sqlalchemy_store.py): with fewer
# connections than this, enough concurrent calls wait for one another for ever.
SESSIONS_PER_REQUEST: Final = 2
SPARE_CONNECTIONS: Final = 20

# Limit to request stays below the ratio of 5 that clusters such as Rahti enforce.
CPU_REQUEST_MILLICORES: Final = 250
CPU_LIMIT_MILLICORES: Final = 1000


@dataclass(frozen=True)
class Pool:
    """Connections of one SQLAlchemy engine: `size` stay open, `overflow` more come and go."""

    size: int
    overflow: int


def pool() -> Pool:
    """Return a pool in which no request of one process ever waits for another's second connection."""
    size = 10
    return Pool(size=size, overflow=THREADS_PER_PROCESS * SESSIONS_PER_REQUEST + SPARE_CONNECTIONS - size)


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
