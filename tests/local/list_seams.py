"""Writes how this MLflow differs from each line of the table of seams (PYTHONPATH: the folder of launch.py)."""

import json

import launch

launch.load()
from deployer_plugin import mlflow_environment, seams  # noqa: E402  # `load` makes the package importable

mlflow_environment.configure_mlflow()
from mlflow.version import VERSION  # noqa: E402  # MLflow reads its environment at import

print(json.dumps([[seam.kind, seam.place, seams.difference(seam)] for seam in seams.of(VERSION)]))
