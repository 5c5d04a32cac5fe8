"""Bounds bodies that take far more time or memory once they are decoded; knows nothing of deployer.

FastAPI decodes and validates a JSON body on the event loop: no other request is served meanwhile. A wrong body costs
about 20 microseconds and 1 KB for each wrong value, because Pydantic makes an error for each. A GraphQL query takes 300
times its size in memory before MLflow counts its fields (mlflow/server/handlers.py `_graphql`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, MutableMapping
from typing import Any

MOST_VALIDATED = 1 << 19  # bytes; 100 tools of an MCP server have about 100 KB with their schemas
MOST_VALUES = 1 << 14  # commas: there are about as many values
MOST_QUERY = 1 << 16  # bytes; the queries of MLflow's pages have 4 KB
MOST_ERRORS = 20  # that an answer names
MOST_METADATA = 1 << 16  # bytes beside an uploaded skill: its name, and where it comes from; MLflow takes 1 MiB
TRACES, GATEWAY, GRAPHQL = "/v1/traces", "/gateway/", "/graphql"
FILES = b"multipart/form-data"
STATIC_PREFIX = "_MLFLOW_STATIC_PREFIX"  # mlflow/server/handlers.py STATIC_PREFIX_ENV_VAR

Scope = MutableMapping[str, Any]


def bounds(scope: Scope, length: float, is_validated: Callable[[Scope], bool]) -> tuple[float, float]:
    """Return how many bytes and how many commas the body of a request may have, besides the general bound.

    `length` is that of the body, infinity where it is not known.
    """
    if length <= MOST_VALUES:  # the usual request: below all bounds, so nobody has to look for its route
        return math.inf, math.inf
    if str(scope["path"]).endswith(GRAPHQL):
        return MOST_QUERY, math.inf
    if is_validated(scope):
        return MOST_VALIDATED, MOST_VALUES
    return math.inf, math.inf


def has_files(scope: Scope) -> bool:
    """Tell whether a body is a form with files, as the first Content-Type says: FastAPI decodes no JSON then."""
    kinds = (value for name, value in scope["headers"] if name == b"content-type")
    return bool(next(kinds, b"").split(b";")[0].strip().lower() == FILES)


def validated_in(app: Any) -> Callable[[Scope], bool]:
    """Return what tells whether a request's body is decoded as JSON by a route of FastAPI's own.

    Traces are decoded in a thread (trace_exports.py). Requests to models may be large; they need a permission that an
    administrator has given. Call it once all routes are there, and before others are put in front of them.
    """
    from starlette.routing import Match, Mount

    prefix = os.environ.get(STATIC_PREFIX, "").rstrip("/")
    own = [route for route in app.router.routes if not isinstance(route, Mount)]

    def tells(scope: Scope) -> bool:
        path = str(scope["path"])
        if path == f"{prefix}{TRACES}" or path.startswith(f"{prefix}{GATEWAY}") or has_files(scope):
            return False
        return any(route.matches(scope)[0] is Match.FULL for route in own)

    return tells


def shorten_errors(app: Any) -> None:
    """Have answers to wrong bodies name the first MOST_ERRORS errors only."""
    from fastapi.exceptions import RequestValidationError

    usual = app.exception_handlers[RequestValidationError]

    async def shortened(request: Any, error: Any) -> Any:
        return await usual(request, RequestValidationError(error.errors()[:MOST_ERRORS]))

    app.add_exception_handler(RequestValidationError, shortened)


def shorten_metadata() -> None:
    """Bound the JSON in a form with an uploaded skill, which MLflow 3.18 validates on the event loop too."""
    try:
        from mlflow.server import skill_registry_api
    except ImportError:
        return  # MLflow 3.17 has no skills
    module: Any = skill_registry_api
    module._MAX_REGISTRATION_METADATA_SIZE = MOST_METADATA
