"""Makes requests for a workspace fail with a client error (400); does not import deployer.

Servers have no workspaces (MLFLOW_ENABLE_WORKSPACES is off). For a request with the header X-MLflow-Workspace, MLflow
raises the error FEATURE_DISABLED (mlflow/server/workspace_helpers.py). MLflow's table has no status for this error, so
the response is a 500, and clients send the request again and again.
"""

from __future__ import annotations

BAD_REQUEST = 400


def refuse_as_bad_request() -> None:
    """Give the error FEATURE_DISABLED the status 400."""
    from mlflow import exceptions

    table = getattr(exceptions, "ERROR_CODE_TO_HTTP_STATUS", None)
    if isinstance(table, dict):
        table.setdefault("FEATURE_DISABLED", BAD_REQUEST)
