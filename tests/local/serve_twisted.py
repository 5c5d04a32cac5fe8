"""Starts the server as launch.py does, twisted in one way.

python serve_twisted.py TWIST      (PYTHONPATH: the folder of launch.py)

open      without any login
usual     as it is
stuck     a password check that is not known takes as long as the file named by STUCK is there
failing   once it serves, every check raises
changed   MLflow asks for a password in another way

All but `changed` also answer /health/statements: the SQL statements since the last time, and the checks of passwords.
"""

import json
import os
import sys
import time

import launch
import werkzeug.security

started, statements, checks = False, [], []
usual_check = werkzeug.security.check_password_hash


def check(stored, password):
    """The check that launch.py hands to fastauth.py."""
    checks.append(stored)
    if twist == "failing" and started:
        raise RuntimeError("broken on purpose")
    while twist == "stuck" and os.path.exists(os.environ["STUCK"]):
        time.sleep(0.01)
    return usual_check(stored, password)


def note(_connection, _cursor, statement, *_):
    if not statement.startswith("PRAGMA"):  # SQLite's own, two or three for each session
        statements.append(statement)


async def served(scope, receive, send):
    if scope["type"] != "http" or scope["path"] != "/health/statements":
        await application(scope, receive, send)
        return
    body = json.dumps({"statements": statements, "checks": len(checks)}).encode()
    statements.clear()
    checks.clear()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


twist = sys.argv[1]
werkzeug.security.check_password_hash = check
launch.configure_mlflow()
launch.prepare_databases()
if twist == "changed":
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    def authenticate_user(self, username, password, realm=None):
        return True

    SqlAlchemyStore.authenticate_user = authenticate_user
if twist == "open":
    from mlflow.server import handlers
    from mlflow.server.fastapi_app import app as application

    settings = (os.environ[f"_MLFLOW_SERVER_{name}"] for name in ("FILE_STORE", "REGISTRY_STORE", "ARTIFACT_ROOT"))
    handlers.initialize_backend_stores(*settings)
else:
    try:
        application = launch.create_app()
    except launch.Refusal as refusal:
        sys.stderr.write(f"{refusal}\n")
        raise SystemExit(launch.EX_CONFIG) from None

import sqlalchemy  # noqa: E402  # after MLflow was configured

sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", note)
started = True
launch.serve(served, launch.listening_socket())
