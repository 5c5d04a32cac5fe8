"""Prepares the process for MLflow; everything here must happen before mlflow.server is imported."""

from __future__ import annotations

import os
import platform
import tempfile
import uuid
import warnings

# Secrets of programs that MLflow starts: each secret authenticates a user. This server starts none of these programs
# (mlflow/server/auth/__init__.py `_authenticate_internal_delegation_token`, `_authenticate_internal_gateway_token`).
TRUST = (
    "_MLFLOW_ASSISTANT_DELEGATION_SIGNING_KEY",
    "_MLFLOW_ASSISTANT_DELEGATION_TOKEN",
    "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN",
)
# Variables from which MLflow's client takes its login. If the server calls itself, it must not log in as one of its
# users (gateway/stored_logins.py).
LOGINS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


def ask_the_processor() -> None:
    """Make Python look up the processor's name now, in an empty environment; Python remembers the result.

    The look-up runs the program `uname` (platform.py `_Processor`). It would first happen when MLflow is imported. Then
    `uname`, or any program of that name on the user's PATH, would have every secret of the server in its environment.
    """
    ours = dict(os.environ)
    os.environ.clear()
    try:
        platform.processor()
    finally:
        os.environ.update(ours)


def pass_over_known_warnings() -> None:
    """Keep one warning out of the log, because nobody who runs a server can act on it.

    mlflow/server/fastapi_app.py imports Starlette's bridge to WSGI, which newer releases of Starlette deprecate.
    """
    warnings.filterwarnings("ignore", message=r"starlette\.middleware\.wsgi is deprecated")


def choose_temporary_folder() -> None:
    """Make Python use TMPDIR if it is writable, even if its disk is full.

    If the disk is full, Python itself would choose a folder that all users of the machine share.
    """
    folder = os.environ.get("TMPDIR")
    if folder and os.path.isabs(folder) and os.access(folder, os.W_OK | os.X_OK):
        tempfile.tempdir = folder


def configure_mlflow() -> None:
    """Set what `mlflow server` sets for its workers.

    MLflow reads these variables at import time (mlflow/server/constants.py, mlflow/server/__init__.py).
    """
    for name in (*TRUST, *LOGINS):
        os.environ.pop(name, None)
    backend = os.environ["MLFLOW_BACKEND_STORE_URI"]
    os.environ.update(
        {
            "_MLFLOW_SERVER_FILE_STORE": backend,
            "_MLFLOW_SERVER_REGISTRY_STORE": os.environ.get("MLFLOW_REGISTRY_STORE_URI") or backend,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": os.environ["MLFLOW_ARTIFACTS_DESTINATION"],
            "_MLFLOW_SERVER_BOOT_ID": uuid.uuid4().hex,
            "_MLFLOW_IN_JOB_EXECUTOR": "false",
            "_MLFLOW_SGI_NAME": "uvicorn",
            # Otherwise MLflow resolves the hosts of icon URLs on the event loop, up to 5 s each
            # (mlflow/utils/validation.py `_validate_icon_url`). It fetches no icons, so private hosts are harmless.
            "MLFLOW_ICON_URL_ALLOW_PRIVATE_IPS": "true",
            # MLflow's default: a request for which MLflow knows no permission check is refused, for example HEAD
            "MLFLOW_BASIC_AUTH_FAIL_CLOSED": "true",
            # otherwise the package `requests` sends a login from ~/.netrc when MLflow calls its own server
            "NETRC": os.devnull,
        }
    )
