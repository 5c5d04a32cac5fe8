"""Lets members use the gateway's route that compacts conversations; does not import deployer.

A request for this route names the gateway endpoint in its body. MLflow reads the body only for the routes in a list
(`_ROUTES_NEEDING_BODY` in mlflow/server/auth), and this route is missing there. So MLflow finds no endpoint
(`_extract_gateway_endpoint_name`), and answers 400 to everybody except administrators. With this module, MLflow checks
USE on the endpoint, as for the other routes (`_validate_gateway_use_permission`).
"""

from __future__ import annotations

COMPACT = "/gateway/openai/v1/responses/compact"


def install() -> None:
    """Add the route to MLflow's list, a frozen set of paths."""
    from mlflow.server import auth

    auth._ROUTES_NEEDING_BODY = auth._ROUTES_NEEDING_BODY | {COMPACT}
