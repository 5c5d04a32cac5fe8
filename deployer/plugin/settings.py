"""Environment variables of the server's program, and the error for a configuration that it must not start with."""

from __future__ import annotations

import os

EX_CONFIG = 78
FORWARDED = "DEPLOYER_FORWARDED"  # true: the last address in X-Forwarded-For is the client's
THREADS = "DEPLOYER_THREADS"  # threads that serve requests in each process
MOST_THREADS = 40  # AnyIO's own default
LOGIN_CONNECTIONS = "DEPLOYER_AUTH_CONNECTIONS"  # per process, to the auth database; unset: as many as for tracking
ACCESS_LOG = "DEPLOYER_ACCESS_LOG"  # true: log who requests what, to standard output
TRANSFER = "DEPLOYER_ARTIFACT_TRANSFER"  # proxied or direct; unset if artifacts are stored on a volume
MAX_REQUEST_BODY = "DEPLOYER_MAX_REQUEST_BODY"  # bytes of a request that is not an artifact upload
USUAL_REQUEST_BODY = 32 << 20
REQUIRED = (
    "MLFLOW_BACKEND_STORE_URI",
    "MLFLOW_ARTIFACTS_DESTINATION",
    "MLFLOW_AUTH_CONFIG_PATH",
    "MLFLOW_AUTH_ADMIN_USERNAME",
    "MLFLOW_AUTH_ADMIN_PASSWORD",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
)


class Refusal(Exception):
    """A configuration that the server must not start with; the message tells a person what to do."""


def require() -> None:
    """Require the variables that the server cannot start without.

    Raises:
        Refusal: a variable is not set.
    """
    if missing := [name for name in REQUIRED if not os.environ.get(name)]:
        raise Refusal(f"not set: {', '.join(missing)}")


def number(name: str, usual: int) -> int:
    """Return the number in an environment variable, or `usual` if the variable is not set."""
    wanted = os.environ.get(name) or str(usual)
    if not wanted.isascii() or not wanted.isdigit() or not int(wanted):
        raise Refusal(f"{name} must be a number from 1 on, not {wanted!r}")
    return int(wanted)


def is_on(name: str) -> bool:
    """Tell whether an environment variable is `true`."""
    return os.environ.get(name) == "true"
