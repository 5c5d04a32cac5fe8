"""Keeps MLflow from opening files of the server that a request names; does not import deployer.

Two values of a request can name a file:

- `resources` in the JSON of a model (`runs/log-model`). Clients send an object. If the value is a text, MLflow reads it
  as the path of a YAML file (mlflow/models/model.py `Model.resources`).
- the provider of a model in a span. MLflow looks up prices in the file PROVIDER.json of its catalogue, and PROVIDER may
  be a path (mlflow/utils/providers.py `_load_bundled_provider`).

The file may be a device or a pipe. Reading from it never ends, and the server loses a thread. With this module, MLflow
refuses such a model, and it finds no prices for such a provider.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, NoReturn

# the second one reads an administrator's own catalogue (MLFLOW_MODEL_CATALOG_URI)
OF_PROVIDERS = ("_load_bundled_provider", "_fetch_remote_provider")
PROVIDER = re.compile(r"\w[\w.-]*", re.ASCII)


def install() -> None:
    """Replace the functions that open the files."""
    from mlflow.models import resources
    from mlflow.utils import providers

    builder: Any = resources._ResourceBuilder
    builder.from_yaml_file = staticmethod(_refuse)
    for name in OF_PROVIDERS:
        setattr(providers, name, _of_plain_names(getattr(providers, name)))


def _refuse(path: Any) -> NoReturn:
    from mlflow.exceptions import MlflowException

    raise MlflowException.invalid_parameter_value("'resources' of a model must be an object, not the path of a file.")


def _of_plain_names(load: Callable[[str], Any]) -> Callable[[str], Any]:
    @wraps(load)
    def load_provider(provider: str) -> Any:
        return load(provider) if PROVIDER.fullmatch(provider) else {}

    return load_provider
