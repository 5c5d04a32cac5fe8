"""Starts the server as launch.py does and, before serving, writes down every route of the very application it serves.

python serve_and_list_routes.py FILE      (PYTHONPATH: the folder of launch.py)
"""

import json
import sys
from pathlib import Path

import launch


def flask_routes():
    from mlflow.server import app

    for rule in app.url_map.iter_rules():
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            yield {"side": "flask", "method": method, "path": rule.rule}


def fastapi_routes(application):
    from fastapi.routing import iter_route_contexts

    for route in iter_route_contexts(application.routes):
        for method in sorted(route.methods or ()):
            yield {"side": "fastapi", "method": method, "path": route.path}


launch.configure_mlflow()
launch.prepare_databases()
served = launch.create_app()
found = {"routes": [*flask_routes(), *fastapi_routes(served)], "documented": sorted(served.openapi()["paths"])}
Path(sys.argv[1]).write_text(json.dumps(found), "utf-8")
launch.serve(served, launch.listening_socket())
