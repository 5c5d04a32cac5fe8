"""Closes the routes of MLflow that routes.tsv marks as closed or does not list; does not import deployer.

The check runs after routing, on the route that matched, so no spelling of a path can bypass it. MLflow's own
authentication runs earlier and refuses strangers. A refusal is a 403 that names the route, in the form of MLflow's
errors.

In a supported minor version of MLflow, a route that is not listed is closed. In another version, MLflow decides about
such a route, but the lines that close a route apply there, too.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("routes.tsv")
NOBODY, ADMIN, ANYONE, LOGIN = "nobody", "admin", "anyone", "login"
OPEN = frozenset({ANYONE, LOGIN})
EITHER_API = "/(ajax-)api/"
STATIC_PREFIX = "_MLFLOW_STATIC_PREFIX"  # mlflow/server/handlers.py STATIC_PREFIX_ENV_VAR

Key = tuple[str, str]  # method, path template
Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


@dataclass(frozen=True)
class Listed:
    """One line of routes.tsv."""

    who: str
    versions: frozenset[str]
    method: str
    path: str
    reach: frozenset[str]
    note: str

    @property
    def keys(self) -> Iterator[Key]:
        """Yield the routes that the line describes."""
        for api in ("/api/", "/ajax-api/") if self.path.startswith(EITHER_API) else ("",):
            yield self.method, self.path.replace(EITHER_API, api, 1)


def parse(text: str) -> tuple[Listed, ...]:
    """Return the lines of routes.tsv. Each has five columns that contain no blanks; the rest of the line is a note."""
    lines = (line.split(None, 5) for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(
        Listed(who, frozenset(versions.split(",")), method, path, frozenset(reach.split(",")), "".join(note))
        for who, versions, method, path, reach, *note in lines
    )


def minor(version: str) -> str:
    """Return the minor version, such as 3.17."""
    return ".".join(version.split(".")[:2])


def permissions(lines: Collection[Listed], version: str | None) -> dict[Key, str]:
    """Return who may use each route of a minor version, or of any minor version if `version` is None."""
    return {key: line.who for line in lines if version is None or version in line.versions for key in line.keys}


@dataclass(frozen=True)
class Judge:
    """Tells who may use a route: `who` has the answer for each listed route, `otherwise` for all other routes."""

    who: Mapping[Key, str]
    otherwise: str
    prefix: str = ""  # MLflow's `--static-prefix`, which comes before all of its paths

    def key(self, method: str, path: str) -> Key:
        """Return the route as routes.tsv lists it."""
        if self.prefix and path.startswith(f"{self.prefix}/"):
            path = path[len(self.prefix) :]
        return "GET" if method == "HEAD" else method, path

    def __call__(self, method: str, path: str) -> str:
        """Return who may use the route with this method and path template."""
        return self.who.get(self.key(method, path), self.otherwise)


def install(app: Any, version: str, *, known: bool) -> list[str]:
    """Close the routes of MLflow's FastAPI application and of the Flask application in it, as routes.tsv says.

    Call this once, after all routes exist and before other routes are put in front of them.

    `known` says that the minor version is supported. Returns the routes that are closed because they are not listed.
    """
    from mlflow.server import app as flask

    lines = parse(FILE.read_text("utf-8"))
    prefix = os.environ.get(STATIC_PREFIX, "").rstrip("/")
    judge = Judge(permissions(lines, minor(version) if known else None), NOBODY if known else LOGIN, prefix)
    _guard_flask(flask, judge)
    unlisted = [*_unlisted_of_flask(flask, judge), *_guard_fastapi(app, judge)]
    return sorted(set(unlisted)) if known else []


def refusal(method: str, path: str, who: str) -> dict[str, str]:
    """Return the body of a refusal, in the form of MLflow's errors."""
    reason = "is for administrators" if who == ADMIN else "is closed by this server"
    return {"error_code": "PERMISSION_DENIED", "message": f"{method} {path} {reason}."}


def _guard_flask(flask: Any, judge: Judge) -> None:
    from flask import jsonify, request
    from mlflow.server import auth

    def closed_by_this_server() -> Any:
        rule, method = request.url_rule, request.method
        if rule is None or (method == "OPTIONS" and rule.provide_automatic_options):
            return None  # Flask answers without a view
        who = judge(method, rule.rule)
        if who in OPEN or (who == ADMIN and auth.sender_is_admin()):
            return None
        return jsonify(refusal(method, rule.rule, who)), 403

    flask.before_request(closed_by_this_server)  # added last: MLflow's own authentication runs earlier


def _unlisted_of_flask(flask: Any, judge: Judge) -> Iterator[str]:
    for rule in flask.url_map.iter_rules():
        for method in (rule.methods or {""}) - {"HEAD", "OPTIONS"}:
            if judge.key(method, rule.rule) not in judge.who:
                yield f"{method} {rule.rule}"


def _guard_fastapi(app: Any, judge: Judge) -> Iterator[str]:
    """Close FastAPI's own routes and yield the unlisted routes; Flask's mount, the last route, stays open.

    A router that is included under two prefixes has one object for two routes. Such an object is closed if one of its
    routes is closed.
    """
    closed: dict[int, tuple[Any, set[str]]] = {}
    for route, path, methods in _fastapi_routes(app):
        keys = {method: judge.key(method, path) for method in methods if method != "HEAD"} or {"*": ("*", path)}
        yield from (f"{method} {path}" for method, key in keys.items() if key not in judge.who)
        shut = {method for method, key in keys.items() if judge.who.get(key, judge.otherwise) not in OPEN}
        if shut:
            closed.setdefault(id(route), (route, set()))[1].update(shut)
    for route, shut in closed.values():
        _close(route, shut)


def _fastapi_routes(app: Any) -> Iterator[tuple[Any, str, Collection[str]]]:
    """Yield the objects that handle requests, with path and methods; websockets and mounts have no methods.

    Old versions of FastAPI have one flat list of routes. New versions have a tree of the included routers.
    """
    from fastapi import routing
    from starlette.routing import Mount, Route

    routes = list(app.router.routes)
    if isinstance(routes[-1], Mount) and not routes[-1].path:
        routes.pop()  # Flask
    for found in getattr(routing, "iter_route_contexts", iter)(routes):
        context = getattr(found, "_route_context", None)  # the tree has a copy of each Starlette route, with the prefix
        handling = getattr(context, "starlette_route", None) or getattr(found, "original_route", found)
        yield handling, getattr(found, "path", None) or "", found.methods or () if isinstance(handling, Route) else ()


def _close(route: Any, methods: Collection[str]) -> None:
    """Make a route refuse these methods; `*` stands for all requests, including websockets."""
    from starlette.responses import JSONResponse
    from starlette.websockets import WebSocketClose

    handle, path = route.handle, getattr(route, "path", "")

    async def closed_by_this_server(scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope.get("method") == "HEAD" else scope.get("method")
        if "*" not in methods and method not in methods:
            await handle(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008)(scope, receive, send)
        else:
            body = refusal(str(method), path, NOBODY)
            await JSONResponse(body, 403)(scope, receive, send)

    route.handle = closed_by_this_server
