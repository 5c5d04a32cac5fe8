"""Sends requests for Flask directly to Flask; does not import deployer.

MLflow's FastAPI application has Flask as its last mount, and Flask serves nearly all of MLflow's API. A request for
Flask first passes through a search of FastAPI's routes. It also passes through middleware that matters only to those
routes (mlflow/server/auth/__init__.py `add_fastapi_permission_middleware`, mlflow/server/fastapi_app.py
`add_fastapi_workspace_middleware` and `add_gateway_timing_middleware`). Each middleware adds a task and a stream.

A request that this module sends directly can reach only Flask, and Flask checks the login of every request. So a
mistake here could refuse a request, but could not let anybody in. The checks of hosts and origins still come first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .. import seams

# middleware that does nothing for Flask's paths, unless the request names a workspace
FOR_FASTAPI = frozenset(
    {"fastapi_permission_middleware", "gateway_timing_middleware", "workspace_context_middleware"}
)  # fmt: skip
VALIDATOR = "mlflow.server.auth:_find_fastapi_validator"
WORKSPACE_HEADER = b"x-mlflow-workspace"  # mlflow/server/workspace_helpers.py
REMEMBERED = 1000  # paths
LONGEST = 200  # characters of a path that is remembered

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class Straight:
    """Tells whether a request is for Flask: no route and no permission rule of FastAPI matches it.

    `matches` tells whether one of FastAPI's routes matches a scope. `rules` tells whether MLflow's
    permission check for FastAPI has a rule for a path and a method.
    """

    _KEY = "deployer.straight"

    def __init__(self, matches: Callable[[Scope], bool], rules: Callable[[str, str], bool]) -> None:
        self._matches = matches
        self._rules = rules
        self._remembered: OrderedDict[tuple[str, str], bool] = OrderedDict()

    def __call__(self, scope: Scope) -> bool:
        """Tell whether a scope is for Flask; the result stays the same for the whole request."""
        if scope["type"] != "http":
            return False
        found = scope.get(self._KEY)
        if found is None:
            found = scope[self._KEY] = self._found(scope)
        return bool(found)

    def _found(self, scope: Scope) -> bool:
        if any(name == WORKSPACE_HEADER for name, _ in scope["headers"]):
            return False
        method, path = scope["method"], scope["path"]
        if len(path) > LONGEST:
            return self._look(scope)
        known = self._remembered.get((method, path))
        if known is None:
            known = self._remembered[method, path] = self._look(scope)
            while len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return known

    def _look(self, scope: Scope) -> bool:
        path = scope["path"]
        return not ("/gateway/" in path or self._rules(path, scope["method"]) or self._matches(scope))


def install(app: Any) -> Straight:
    """Send requests for Flask directly to Flask in MLflow's application; call this function once all routes exist.

    If workspaces are on, or if MLflow lacks something that this module relies on, all requests take the usual path
    through FastAPI.
    """
    from mlflow.environment_variables import MLFLOW_ENABLE_WORKSPACES
    from mlflow.server import auth
    from starlette.middleware import Middleware
    from starlette.middleware.base import BaseHTTPMiddleware
    from starlette.routing import BaseRoute, Match, Mount

    flask = app.router.routes[-1]
    if not seams.fits(VALIDATOR) or MLFLOW_ENABLE_WORKSPACES.get() or not isinstance(flask, Mount) or flask.path:
        return Straight(lambda _scope: True, lambda _path, _method: True)
    before = list(app.router.routes[:-1])
    straight = Straight(
        lambda scope: any(route.matches(scope)[0] is not Match.NONE for route in before),
        lambda path, method: auth._find_fastapi_validator(path, method) is not None,
    )

    class ToFlask(BaseRoute):  # type: ignore[misc]  # Starlette is installed only for the server
        def matches(self, scope: Scope) -> tuple[Match, Scope]:
            return flask.matches(scope) if straight(scope) else (Match.NONE, {})

        async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
            await flask.handle(scope, receive, send)

    class UnlessStraight:
        def __init__(self, app: Any, dispatch: Any) -> None:
            self._app = app
            self._usual = BaseHTTPMiddleware(app, dispatch=dispatch)

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            await (self._app if straight(scope) else self._usual)(scope, receive, send)

    for number, found in enumerate(app.user_middleware):
        dispatch = found.kwargs.get("dispatch")
        if found.cls is BaseHTTPMiddleware and getattr(dispatch, "__name__", "") in FOR_FASTAPI:
            app.user_middleware[number] = Middleware(UnlessStraight, dispatch=dispatch)
    app.router.routes.insert(0, ToFlask())
    return straight
