"""Says of requests for a workspace that they are the client's mistake; knows nothing of deployer.

Servers have no workspaces (MLFLOW_ENABLE_WORKSPACES is off). MLflow answers the header X-MLflow-Workspace with the
error FEATURE_DISABLED (mlflow/server/workspace_helpers.py), for which its table has no status, so with 500: clients
send the request again and again.
"""

from __future__ import annotations

BAD_REQUEST = 400


def refuse_as_bad_request() -> None:
    """Give the error a status."""
    from mlflow import exceptions

    table = getattr(exceptions, "ERROR_CODE_TO_HTTP_STATUS", None)
    if isinstance(table, dict):
        table.setdefault("FEATURE_DISABLED", BAD_REQUEST)
