"""Bounds request bodies that take much more time or memory once they are decoded; does not import deployer.

FastAPI decodes and validates a JSON body on the event loop, and no other request is served meanwhile. In an invalid
body, each wrong value costs about 20 microseconds and 1 KB, because Pydantic creates an error for each. A GraphQL query
takes 300 times its size in memory before MLflow counts its fields (mlflow/server/handlers.py `_graphql`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, MutableMapping
from typing import Any

MOST_VALIDATED = 1 << 19  # bytes; 100 tools of an MCP server with their schemas have about 100 KB
MOST_VALUES = 1 << 14  # commas: a body has about as many values
MOST_QUERY = 1 << 16  # bytes; the queries of MLflow's web pages have 4 KB
MOST_ERRORS = 20  # errors in a response
MOST_METADATA = 1 << 16  # bytes beside an uploaded skill: its name and its origin; MLflow accepts 1 MiB
TRACES, GATEWAY, GRAPHQL = "/v1/traces", "/gateway/", "/graphql"
FILES = b"multipart/form-data"
UPLOADS = ("POST", "/mlflow/skills/", "/versions")  # method, part and end of the routes that receive a form with files
STATIC_PREFIX = "_MLFLOW_STATIC_PREFIX"  # mlflow/server/handlers.py STATIC_PREFIX_ENV_VAR

Scope = MutableMapping[str, Any]


def bounds(scope: Scope, length: float, is_validated: Callable[[Scope], bool]) -> tuple[float, float]:
    """Return two more limits for the body of a request: bytes, and commas (JSON has about as many values as commas).

    `length` is the length of the body, infinity if it is unknown.
    """
    if length <= MOST_VALUES:  # most requests: below all bounds, so the route need not be looked up
        return math.inf, math.inf
    if str(scope["path"]).endswith(GRAPHQL):
        return MOST_QUERY, math.inf
    if is_validated(scope):
        return MOST_VALIDATED, MOST_VALUES
    return math.inf, math.inf


def has_files(scope: Scope) -> bool:
    """Tell whether a request uploads files in a form: then nothing decodes the body as JSON.

    Only the route UPLOADS accepts such a form. On all other routes, MLflow's permission checks decode the body as JSON,
    whatever its Content-Type (mlflow/server/auth `_mcp_create_body_name`, `_skill_auth_body`).
    """
    method, part, end = UPLOADS
    path = str(scope["path"])
    if scope["method"] != method or part not in path or not path.endswith(end):
        return False
    kinds = (value for name, value in scope["headers"] if name == b"content-type")
    return bool(next(kinds, b"").split(b";")[0].strip().lower() == FILES)


def validated_in(app: Any) -> Callable[[Scope], bool]:
    """Return a function that tells whether one of FastAPI's own routes decodes a request's body as JSON.

    Traces are excluded, because they are decoded in a thread (trace_exports.py). Requests to models through the
    gateway are excluded, because they may be large and need a permission from an administrator.

    Call this function once all routes exist, and before other routes are put in front of them.
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
    """Make responses to invalid bodies name only the first MOST_ERRORS errors."""
    from fastapi.exceptions import RequestValidationError

    usual = app.exception_handlers[RequestValidationError]

    async def shortened(request: Any, error: Any) -> Any:
        return await usual(request, RequestValidationError(error.errors()[:MOST_ERRORS]))

    app.add_exception_handler(RequestValidationError, shortened)


def shorten_metadata() -> None:
    """Bound the JSON in a form with an uploaded skill, which MLflow 3.18 also validates on the event loop."""
    try:
        from mlflow.server import skill_registry_api
    except ImportError:
        return  # MLflow 3.17 has no skills
    module: Any = skill_registry_api
    module._MAX_REGISTRATION_METADATA_SIZE = MOST_METADATA
