"""Values laid over the configuration file of MLflow's basic auth; loaded by launch.py, knows nothing of deployer."""

from __future__ import annotations

import configparser
import os

FILE = "MLFLOW_AUTH_CONFIG_PATH"


def lay_over(**values: str) -> None:
    """Have MLflow read these values in the place of those in the file.

    MLflow knows no other way (mlflow/server/auth/config.py), and the file that it is given may be read by many who must
    not know a password. So it gets another one that has no name, lies in memory, and goes over to forked processes with
    its descriptor.
    """
    config = configparser.RawConfigParser()  # values as they stand there: `%` stays doubled
    config.read(os.environ[FILE], "utf-8")
    for name, value in values.items():
        config.set("mlflow", name, value.replace("%", "%%"))
    descriptor = os.memfd_create("basic_auth.ini")
    with open(descriptor, "w", encoding="utf-8", closefd=False) as file:
        config.write(file)
    os.environ[FILE] = f"/proc/self/fd/{descriptor}"
