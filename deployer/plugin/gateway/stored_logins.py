"""Keeps MLflow from sending a stored login when the server calls itself; does not import deployer.

A judge of a guardrail may ask a model of the gateway. MLflow then calls this server with the login in
`~/.mlflow/credentials` (mlflow/genai/utils/gateway_utils.py `_build_auth_headers`). On a machine where an administrator
has used `deployer login`, this is the administrator's login. With this login, a judge that a member has written could
use every endpoint of the gateway. This module keeps MLflow from reading the file: the server never needs the login of a
user. mlflow_environment.py removes logins from the environment.
"""

from __future__ import annotations


def install() -> None:
    """Replace the function that reads the file."""
    from mlflow.utils import credentials

    credentials._read_mlflow_creds_from_file = lambda: (None, None)
