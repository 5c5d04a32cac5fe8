"""Starts one MLflow tracking server; runs in the server's Python and does not import deployer.

It does what `mlflow server --app-name basic-auth --workers N` does (mlflow/cli/__init__.py `server`,
mlflow/server/__init__.py `_run_server`). If N is 1, it runs one process, otherwise N workers and a small parent.
In addition, this program

- never changes the schema of a database that holds data,
- serves `/health/stores`,
- can take over a listening socket,
- reads the address of the auth database from the environment (storage/databases.py, DEPLOYER_AUTH_DATABASE_URI),
- checks passwords itself (auth/logins.py), if the plugin supports this MLflow (seams.tsv).

MLflow's own environment variables configure everything:

    MLFLOW_BACKEND_STORE_URI, MLFLOW_REGISTRY_STORE_URI (default: the same), MLFLOW_ARTIFACTS_DESTINATION,
    MLFLOW_HOST (default 127.0.0.1), MLFLOW_PORT (default 5000), MLFLOW_WORKERS (default 1), MLFLOW_AUTH_CONFIG_PATH,
    MLFLOW_AUTH_ADMIN_USERNAME, MLFLOW_AUTH_ADMIN_PASSWORD, MLFLOW_FLASK_SERVER_SECRET_KEY, ...

Instead of host and port, a parent process can pass a socket as systemd does (LISTEN_PID, LISTEN_FDS; sd_listen_fds(3)).

Exit codes: 0 stopped by a signal, 78 (EX_CONFIG) refused to start, with the reason on standard error.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from typing import Any

PACKAGE = "deployer_plugin"
FOLDER = os.path.dirname(os.path.realpath(__file__))


class Uncompiled(SourceFileLoader):
    """Loads a module and writes no compiled copy of it beside its source."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write nothing."""


def load() -> None:
    """Make the folder of this file the package `deployer_plugin`.

    The folder is removed from `sys.path`, so that MLflow and its dependencies do not import `storage` or `gateway` from
    it.
    """

    def find_uncompiled(path: str) -> FileFinder:
        if path != FOLDER and not path.startswith(f"{FOLDER}/"):
            raise ImportError(path)
        return FileFinder(path, (Uncompiled, SOURCE_SUFFIXES))

    sys.path[:] = [entry for entry in sys.path if entry != FOLDER]
    sys.path_importer_cache.pop(FOLDER, None)
    sys.path_hooks.insert(0, find_uncompiled)
    file = os.path.join(FOLDER, "__init__.py")
    spec = importlib.util.spec_from_file_location(
        PACKAGE, file, loader=Uncompiled(PACKAGE, file), submodule_search_locations=[FOLDER]
    )
    if spec is None or spec.loader is None:
        raise ImportError(file)
    sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[PACKAGE])


def main() -> None:
    """Run the server until a signal ends it."""
    gc.disable()  # imports create a million objects and hardly any garbage: collections took a fifth of the start
    load()
    importlib.import_module(f"{PACKAGE}.start").main()


if __name__ == "__main__":
    main()
