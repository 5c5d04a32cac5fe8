"""The environment that the server's program gives to MLflow."""

from __future__ import annotations

import os

import pytest

from deployer.plugin import launch

# mlflow/environment_variables.py: each of them logs in whoever knows it
SECRETS = (
    "_MLFLOW_ASSISTANT_DELEGATION_SIGNING_KEY",
    "_MLFLOW_ASSISTANT_DELEGATION_TOKEN",
    "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN",
)


def test_secrets_that_mlflow_shares_with_its_own_programs_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    databases = {"MLFLOW_BACKEND_STORE_URI": "sqlite:///a", "MLFLOW_ARTIFACTS_DESTINATION": "/a"}
    monkeypatch.setattr(os, "environ", {**databases, **dict.fromkeys(SECRETS, "known to somebody")})
    launch.configure_mlflow()
    assert not set(SECRETS) & os.environ.keys()
    assert os.environ["_MLFLOW_SERVER_FILE_STORE"] == "sqlite:///a"
