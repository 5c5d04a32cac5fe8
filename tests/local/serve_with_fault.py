"""Starts the server as launch.py does, with one fault.

python serve_with_fault.py FAULT      (PYTHONPATH: the folder of launch.py)

open      without authentication
usual     no fault
long way  without the shorter path to Flask
own search  MLflow's search instead of the server's
own like  LIKE fails on each text that contains the text in HIDDEN
stuck     the check of an unknown password lasts as long as the file named by STUCK exists
own way   a custom authentication function accepts a user whom MLflow does not know
failing   every check of a password raises after the start
broken    after the start, one part raises: the file named by BROKEN contains the names of the part and of the error;
          guesses are not slowed
changed   changes or removes each function of MLflow that the server replaces, and finally changes the behaviour of the
          first function; prints all refusals, then starts with the changed first function

All but `changed` also answer /health/statements: the SQL statements, the checks of passwords, and the passages through
middleware that starts a task, all since the previous request; and the peak of memory in MiB and the maximum of serving
threads.
"""

import builtins
import functools
import json
import os
import re
import sys
import time
from pathlib import Path

import launch
import werkzeug.security

launch.load()
from deployer_plugin import mlflow_environment, start  # noqa: E402  # `load` makes it importable
from deployer_plugin.application import create_app, prepare_databases  # noqa: E402
from deployer_plugin.auth import config_file, flask_route, gate, login_checks, throttle  # noqa: E402
from deployer_plugin.listener import listening_socket  # noqa: E402
from deployer_plugin.permissions import experiment_search, readable_rows, search_patterns  # noqa: E402
from deployer_plugin.settings import Refusal  # noqa: E402

started, statements, checks, passages = False, [], [], []
usual_check = werkzeug.security.check_password_hash


def check(stored, password):
    """The check of the server."""
    checks.append(stored)
    if fault == "failing" and started:
        raise RuntimeError("broken on purpose")
    while fault == "stuck" and os.path.exists(os.environ["STUCK"]):
        time.sleep(0.01)
    return usual_check(stored, password)


def note(_connection, _cursor, statement, *_):
    if not statement.startswith("PRAGMA"):  # statements of SQLite, two or three in each session
        statements.append(statement)


def peak():
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


async def served(scope, receive, send):
    if scope["type"] != "http" or scope["path"] != "/health/statements":
        await application(scope, receive, send)
        return
    told = {"statements": statements, "checks": len(checks), "passages": len(passages), "peak": peak()}
    told["threads"] = anyio.to_thread.current_default_thread_limiter().total_tokens
    body = json.dumps(told).encode()
    statements.clear()
    checks.clear()
    passages.clear()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


def breakable(owner, name):
    usual, broken = getattr(owner, name), Path(os.environ["BROKEN"])

    @functools.wraps(usual)
    def part(*arguments, **options):
        told, _, error = broken.read_text().partition(" ") if broken.exists() else ("", "", "")
        if told == name:
            raise getattr(builtins, error)("broken on purpose")
        return usual(*arguments, **options)

    setattr(owner, name, part)


def break_parts():
    from deployer_plugin.auth import fair_executor, fair_queue, logins, request_cache, shared_work, verified_passwords
    from mlflow.server import auth
    from mlflow.server.auth.db.models import SqlUser
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

    parts = {
        logins.Logins: (
            "look_up",
            "pair",
            "known",
            "check",
            "begin_anew",
            "record",
            "defer",
            "authenticate",
        ),
        verified_passwords.Verified: ("was_right", "verified_by_any_worker", "was_checked"),
        throttle.Throttle: ("take",),
        fair_queue.FairQueue: ("push",),
        fair_executor.FairExecutor: ("run",),
        shared_work.SharedWork: ("do",),
        login_checks.LoginChecks: ("decide",),
        gate: ("credentials",),
        request_cache.Memory: ("confirm", "user_once", "grants_once"),
        SqlAlchemyStore: ("get_user", "list_grants"),
        SqlUser: ("to_mlflow_entity",),
        auth: (
            "_fetch_or_none",
            "retention_gate",
            "sender_is_admin",
            "authenticate_request",
            "_role_based_read_predicate",
            "get_graphql_authorization_middleware",
        ),
        TrackingStore: ("_experiment_where_clauses",),
    }
    for owner, names in parts.items():
        for name in names:
            breakable(owner, name)


def like(pattern, text, _escape=None):
    """LIKE of SQLite; the server makes it case-sensitive."""
    if text is None:
        return None
    if os.environ["HIDDEN"].lower() in str(text).lower():
        raise RuntimeError("evaluated on a hidden text")
    parts = (re.escape(part).replace("_", ".") for part in pattern.split("%"))
    return re.fullmatch(".*".join(parts), str(text), re.DOTALL) is not None


def replace_like(connection, _cursor, statement, *_):
    if statement.startswith("PRAGMA case_sensitive_like"):  # SQLite then registers its function again
        for arguments in (2, 3):
            connection.connection.dbapi_connection.create_function("like", arguments, like)


def refusals():
    from mlflow.server import auth, handlers
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as ModelStore
    from mlflow.store.tracking import sqlalchemy_store
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingStore

    for owner, names in (
        (SqlAlchemyStore, ("authenticate_user", "get_user", "list_grants")),
        (auth, ("_fetch_or_none", "filter_search_experiments", "_role_based_read_predicate")),
        (TrackingStore, ("_experiment_where_clauses",)),
        (auth, ("filter_experiment_ids",)),
        (handlers, ("_get_graphql_auth_middleware",)),
        (TrackingStore, ("_get_trace_artifact_location_tag", "_delete_archived_trace_payloads")),
        (handlers, ("get_artifact_uri_for_trace", "get_archive_uri_for_trace")),
        (sqlalchemy_store, ("get_archive_uri_for_trace",)),
        (ModelStore, ("get_model_version_download_uri",)),
        (handlers, ("_is_uri_within_root",)),
    ):
        for name in names:
            usual = getattr(owner, name)
            for other in (lambda *anything: True, None):
                setattr(owner, name, other)
                try:
                    create_app()
                except Refusal as refusal:
                    yield str(refusal)
                setattr(owner, name, usual)

    usual = SqlAlchemyStore.authenticate_user

    def authenticate_user(self, username, password, *, use_primary=False):
        return usual(self, username, password)

    SqlAlchemyStore.authenticate_user = authenticate_user
    try:
        create_app()
    except Refusal as refusal:
        yield str(refusal)


fault = sys.argv[1]
werkzeug.security.check_password_hash = check
mlflow_environment.configure_mlflow()
if fault == "own way":  # before MLflow reads the configuration

    def own_way():
        from flask import request
        from werkzeug.datastructures import Authorization

        known = request.authorization and request.authorization.password == os.environ["OWN_PASSWORD"]
        return Authorization("basic", {"username": "admin"}) if known else auth.make_basic_auth_response()

    config_file.lay_over(authorization_function="__main__:own_way")
prepare_databases()
if fault == "long way":
    flask_route.install = lambda app: None
if fault == "own search":
    experiment_search.install = lambda: None
    readable_rows.install = lambda: None
    search_patterns.install = lambda: None
if fault == "changed":
    print(json.dumps(list(refusals())), flush=True)
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore.authenticate_user = lambda self, username, password, realm=None: True
    start.main()
if fault == "broken":
    gate.Gate.__init__.__kwdefaults__["pause"] = 0.0
    login_checks.REST = 0
    throttle.Throttle.__init__.__defaults__ = (10**6, *throttle.Throttle.__init__.__defaults__[1:])
if fault == "open":
    from mlflow.server import handlers
    from mlflow.server.fastapi_app import app as application

    settings = (os.environ[f"_MLFLOW_SERVER_{name}"] for name in ("FILE_STORE", "REGISTRY_STORE", "ARTIFACT_ROOT"))
    handlers.initialize_backend_stores(*settings)
else:
    application = create_app()
    from mlflow.server import auth
if fault == "broken":
    break_parts()

import anyio.to_thread  # noqa: E402  # from the environment of the server, as above
import sqlalchemy  # noqa: E402  # after MLflow was configured

sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", note)
if fault == "own like":
    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "after_cursor_execute", replace_like)
from starlette.middleware.base import BaseHTTPMiddleware  # noqa: E402  # as above

usual_passage = BaseHTTPMiddleware.__call__


async def passage(self, scope, receive, send):
    if scope["type"] == "http":
        passages.append(scope["path"])
    await usual_passage(self, scope, receive, send)


BaseHTTPMiddleware.__call__ = passage
started = True
start.serve(served, listening_socket())
