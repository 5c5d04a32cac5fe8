"""Overrides values in the configuration file of MLflow's basic auth; does not import deployer."""

from __future__ import annotations

import configparser
import os

FILE = "MLFLOW_AUTH_CONFIG_PATH"


def lay_over(**values: str) -> None:
    """Make MLflow read these values instead of those in the configuration file.

    MLflow reads them only from a file (mlflow/server/auth/config.py). The given file may be readable by people who must
    not know a password. So this function writes a copy with the new values to an unnamed file in memory. Forked
    processes inherit the descriptor of that file.
    """
    config = configparser.RawConfigParser()  # no interpolation: `%` stays doubled
    config.read(os.environ[FILE], "utf-8")
    for name, value in values.items():
        config.set("mlflow", name, value.replace("%", "%%"))
    descriptor = os.memfd_create("basic_auth.ini")
    with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
        config.write(file)
    os.environ[FILE] = f"/proc/self/fd/{descriptor}"
