"""Lets members use the gateway's route that compacts conversations; does not import deployer.

A request for this route names the gateway endpoint in its body. MLflow reads the body only for the routes in a list
(`_ROUTES_NEEDING_BODY` in mlflow/server/auth), and this route is missing there. So MLflow finds no endpoint, and
answers 400 to everybody except administrators. With this module, MLflow checks USE on the endpoint, as for the other
routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

COMPACT = "/gateway/openai/v1/responses/compact"
ROUTES = "_ROUTES_NEEDING_BODY"  # a frozen set of paths
OF_AUTH = {
    "_extract_gateway_endpoint_name": "(path, body)",
    "_validate_gateway_use_permission": "(endpoint_name, username)",
}


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield (owner, function name, required signature) for each MLflow function that uses the list or the endpoint."""
    from mlflow.server import auth

    for name, signature in OF_AUTH.items():
        yield auth, name, signature


def install(demand: Callable[..., None]) -> None:
    """Add the route to the list; `demand` rejects missing functions and other signatures."""
    from mlflow.server import auth

    for seam in seams():
        demand(*seam)
    listed: Any = getattr(auth, ROUTES, None)
    if not isinstance(listed, frozenset):
        demand(SimpleNamespace(), ROUTES, "")
    setattr(auth, ROUTES, listed | {COMPACT})
