"""Starts the server as launch.py does and, before serving, writes all routes of its application to FILE.

python serve_and_list_routes.py FILE [extra | list]      (PYTHONPATH: the folder of launch.py)

extra  the application also has the routes in EXTRA, which MLflow does not have; without deployer, they accept any login
list   ends without serving
"""

import json
import sys
from pathlib import Path

import launch

launch.load()
from deployer_plugin import application, listener, mlflow_environment, start  # noqa: E402  # `load` makes it importable

# MLflow accepts any login on paths with this prefix (mlflow/server/auth/__init__.py `_find_fastapi_validator`)
OPEN_TO_MEMBERS = "/ajax-api/3.0/mlflow/assistant-of-a-plugin"
EXTRA = [
    ["GET", "/ajax-api/2.0/mlflow/of-a-plugin"],
    ["POST", "/ajax-api/2.0/mlflow/of-a-plugin"],
    ["GET", f"{OPEN_TO_MEMBERS}/api"],
    ["GET", f"{OPEN_TO_MEMBERS}/plain"],
    ["GET", f"{OPEN_TO_MEMBERS}/mount/"],
    ["POST", "/ajax-api/3.0/mlflow/server-info"],  # another method of a listed path
]


def add_routes():
    """Add the routes in EXTRA; call this before the application is created."""
    from fastapi.routing import APIRoute
    from mlflow.server import app, auth, otel_api
    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    async def answer(_request):
        return PlainTextResponse("open")

    async def mounted(scope, receive, send):
        await PlainTextResponse("open")(scope, receive, send)

    auth.BEFORE_REQUEST_VALIDATORS.update({(path, method): lambda: True for method, path in EXTRA})
    app.add_url_rule(EXTRA[0][1], "of-a-plugin", lambda: "open", methods=["GET", "POST"])
    app.add_url_rule(EXTRA[5][1], "post-server-info", lambda: "open", methods=["POST"])
    api, plain = APIRoute(EXTRA[2][1], lambda: "open"), Route(EXTRA[3][1], answer)
    otel_api.otel_router.routes.extend([api, plain, Mount(EXTRA[4][1].rstrip("/"), mounted)])


def flask_routes():
    from mlflow.server import app

    for rule in app.url_map.iter_rules():
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            yield {"side": "flask", "method": method, "path": rule.rule}


def fastapi_routes(application):
    from fastapi.routing import iter_route_contexts

    for route in iter_route_contexts(application.routes):
        for method in sorted(route.methods or ()):
            if method != "HEAD":
                yield {"side": "fastapi", "method": method, "path": route.path}


mlflow_environment.configure_mlflow()
application.prepare_databases()
if "extra" in sys.argv:
    add_routes()
served = application.create_app()
found = {"routes": [*flask_routes(), *fastapi_routes(served)], "documented": sorted(served.openapi()["paths"])}
found["extra"] = EXTRA if "extra" in sys.argv else []
Path(sys.argv[1]).write_text(json.dumps(found), "utf-8")
if "list" not in sys.argv:
    start.serve(served, listener.listening_socket())
