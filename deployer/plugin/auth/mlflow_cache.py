"""Sets up MLflow's own password cache; call this before mlflow.server.auth is imported."""

from __future__ import annotations

import sys

from .. import seams
from .config_file import lay_over

FALLBACK_SECONDS = 300  # lifetime of right passwords in MLflow's own cache


def choose_who_remembers(count: int) -> None:
    """Switch MLflow's own cache on or off for `count` processes, and report an unsupported MLflow version.

    MLflow asks its own cache first, and each process has a cache of its own. If several processes serve, a process
    would continue to accept an old password after another process has changed it. So the cache is on only if MLflow is
    unsupported and the server has a single process. With a supported MLflow, logins.py caches checked passwords.
    """
    from mlflow.version import VERSION

    is_known = seams.supports(VERSION)
    seconds = FALLBACK_SECONDS if count == 1 and not is_known else 0
    lay_over(auth_cache_ttl_seconds=str(seconds))
    if is_known:
        return
    known = " and ".join(f"{major}.{minor}" for major, minor in seams.SUPPORTED_MINORS)
    how = f"remembers a right one for {seconds} s" if seconds else "remembers none, as several processes serve"
    sys.stderr.write(
        f"deployer: MLflow {VERSION} checks passwords itself and slowly, because only {known} are known well enough "
        f"for fast checks, and decides itself who may use the routes that those do not have; it {how}\n"
    )
