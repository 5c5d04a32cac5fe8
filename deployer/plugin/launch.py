"""Starts one MLflow tracking server; runs inside the server's Python and knows nothing of deployer.

It does what `mlflow server --app-name basic-auth --workers N` does (mlflow/cli/__init__.py `server`,
mlflow/server/__init__.py `_run_server`) with one process for N = 1 and a small one beside the N else, and more: it
never changes the schema of a database that holds data, it answers `/health/stores`, it can take over a listening
socket, it takes the address of the database with the logins from the environment (databases.py,
DEPLOYER_AUTH_DATABASE_URI), and it checks passwords as fastauth.py does. An MLflow whose seams that does not know
checks them itself.

Everything is configured by MLflow's own environment variables:

    MLFLOW_BACKEND_STORE_URI, MLFLOW_REGISTRY_STORE_URI (default: the same), MLFLOW_ARTIFACTS_DESTINATION,
    MLFLOW_HOST (default 127.0.0.1), MLFLOW_PORT (default 5000), MLFLOW_WORKERS (default 1), MLFLOW_AUTH_CONFIG_PATH,
    MLFLOW_AUTH_ADMIN_USERNAME, MLFLOW_AUTH_ADMIN_PASSWORD, MLFLOW_FLASK_SERVER_SECRET_KEY, ...

or, instead of host and port, by a socket handed over as systemd does (LISTEN_PID, LISTEN_FDS; sd_listen_fds(3)).

Exit codes: 0 stopped by a signal, 78 (EX_CONFIG) refused to start, with the reason on standard error.
"""

from __future__ import annotations

import gc
import os
import platform
import socket
import sys
import tempfile
import uuid
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

EX_CONFIG = 78
FIRST_INHERITED_FD = 3
FALLBACK_CACHE_SECONDS = 300  # of MLflow's own memory for right passwords
TRANSFER = "DEPLOYER_ARTIFACT_TRANSFER"  # proxied or direct; unset where artifacts lie on a volume
FORWARDED = "DEPLOYER_FORWARDED"  # true: the last address in X-Forwarded-For is the client's
THREADS = "DEPLOYER_THREADS"  # that serve requests in each process
MOST_THREADS = 40  # as many as AnyIO has by itself
LOGIN_CONNECTIONS = "DEPLOYER_AUTH_CONNECTIONS"  # to the database of logins, of each process; unset: as many as others
OF_ORIGINS = ("origins", "mlflow.server.fastapi_security", "starlette.middleware.cors")  # modules with middleware
BASIC_AUTH = "mlflow.server.auth:authenticate_request_basic_auth"  # who finds out who asks, unless told otherwise
ACCESS_LOG = "DEPLOYER_ACCESS_LOG"  # true: who asked for what, on standard output
MAX_REQUEST_BODY = "DEPLOYER_MAX_REQUEST_BODY"  # bytes of a request that is no upload of an artifact
USUAL_REQUEST_BODY = 32 << 20
# secrets by which MLflow trusts the programs that it starts: each logs somebody in, and this server starts none of them
# (mlflow/server/auth/__init__.py `_authenticate_internal_delegation_token`, `_authenticate_internal_gateway_token`)
TRUST = (
    "_MLFLOW_ASSISTANT_DELEGATION_SIGNING_KEY",
    "_MLFLOW_ASSISTANT_DELEGATION_TOKEN",
    "_MLFLOW_INTERNAL_GATEWAY_AUTH_TOKEN",
)
REQUIRED = (
    "MLFLOW_BACKEND_STORE_URI",
    "MLFLOW_ARTIFACTS_DESTINATION",
    "MLFLOW_AUTH_CONFIG_PATH",
    "MLFLOW_AUTH_ADMIN_USERNAME",
    "MLFLOW_AUTH_ADMIN_PASSWORD",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
)


class Refusal(Exception):
    """A configuration this server must not start with; the text tells a person what to do."""


def main() -> None:
    """Run the server until a signal ends it."""
    gc.disable()  # an import makes a million objects and hardly any garbage: looking for it took a fifth of the start
    try:
        missing = [name for name in REQUIRED if not os.environ.get(name)]
        if missing:
            raise Refusal(f"not set: {', '.join(missing)}")
        count = number("MLFLOW_WORKERS", 1)
        ask_the_processor()
        pass_over_known_warnings()
        choose_temporary_folder()
        beside("descriptors").raise_limit()
        listener = listening_socket()  # first: a taken port shows now, not after seconds of imports
        configure_mlflow()
        choose_who_remembers(count)
        app = prepared_app()
    except Refusal as refusal:
        sys.stderr.write(f"deployer: refused to start: {refusal}\n")
        raise SystemExit(EX_CONFIG) from None
    if count > 1:
        release_connections()
    gc.freeze()  # what was imported stays: no later collection looks at it, or writes to what forked workers share
    gc.enable()
    serve(app, listener, count)


def number(name: str, usual: int) -> int:
    """Return what an environment variable says, or what is usual where it is not set."""
    wanted = os.environ.get(name) or str(usual)
    if not wanted.isascii() or not wanted.isdigit() or not int(wanted):
        raise Refusal(f"{name} must be a number from 1 on, not {wanted!r}")
    return int(wanted)


def ask_the_processor() -> None:
    """Let Python ask for the processor's name now, in an empty environment; it remembers the answer.

    It asks the program `uname` (platform.py `_Processor`), first when MLflow is imported: that would find every secret
    of the server in its environment, and so would whatever else is called `uname` on the user's PATH.
    """
    ours = dict(os.environ)
    os.environ.clear()
    try:
        platform.processor()
    finally:
        os.environ.update(ours)


def choose_temporary_folder() -> None:
    """Have Python take TMPDIR where it can be written to, and no shared folder instead when its disk is full."""
    folder = os.environ.get("TMPDIR")
    if folder and os.path.isabs(folder) and os.access(folder, os.W_OK | os.X_OK):
        tempfile.tempdir = folder


def pass_over_known_warnings() -> None:
    """Keep one warning out of the log, that nobody who runs a server can act on.

    mlflow/server/fastapi_app.py imports Starlette's bridge to WSGI, which newer releases of Starlette call deprecated.
    """
    warnings.filterwarnings("ignore", message=r"starlette\.middleware\.wsgi is deprecated")


def listening_socket() -> socket.socket:
    """Return the socket that was handed over, or a new one bound to MLFLOW_HOST and MLFLOW_PORT."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=FIRST_INHERITED_FD)
    host = os.environ.get("MLFLOW_HOST", "127.0.0.1")
    port = int(os.environ.get("MLFLOW_PORT", "5000"))
    try:
        made = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # as the kernel knows it: asyncio sets TCP_NODELAY only on sockets whose protocol is named (asyncio.base_events
        # `_set_nodelay`), and without it every answer of two writes waits 40 ms for a delayed acknowledgement
        return socket.socket(fileno=made.detach())
    except OSError as error:
        raise Refusal(f"cannot listen on {host} port {port}: {error.strerror}") from error


def configure_mlflow() -> None:
    """Set what `mlflow server` sets for its workers; must run before mlflow.server is imported.

    MLflow reads these names at import time (mlflow/server/constants.py, mlflow/server/__init__.py).
    """
    for name in TRUST:
        os.environ.pop(name, None)
    backend = os.environ["MLFLOW_BACKEND_STORE_URI"]
    os.environ.update(
        {
            "_MLFLOW_SERVER_FILE_STORE": backend,
            "_MLFLOW_SERVER_REGISTRY_STORE": os.environ.get("MLFLOW_REGISTRY_STORE_URI") or backend,
            "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
            "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
            "_MLFLOW_SERVER_ARTIFACT_DESTINATION": os.environ["MLFLOW_ARTIFACTS_DESTINATION"],
            "_MLFLOW_SERVER_BOOT_ID": uuid.uuid4().hex,
            "_MLFLOW_IN_JOB_EXECUTOR": "false",
            "_MLFLOW_SGI_NAME": "uvicorn",
            # else MLflow looks the hosts of icons up on the event loop, up to 5 s each (mlflow/utils/validation.py
            # `_validate_icon_url`); the server opens no icon, so where its host lies does not matter here
            "MLFLOW_ICON_URL_ALLOW_PRIVATE_IPS": "true",
        }
    )


def knows_mlflow() -> bool:
    """Tell whether fastauth.py was written for this MLflow; must run after `configure_mlflow`."""
    from mlflow.version import VERSION

    return bool(beside("fastauth").supports(VERSION))


def choose_who_remembers(count: int) -> None:
    """Leave the passwords to MLflow where it is not known, and say so; must run before mlflow.server.auth is imported.

    MLflow's own memory for right passwords, which it asks first, is its process's alone: where another one serves too,
    that would go on to accept a password which was changed by way of the first.
    """
    from mlflow.version import VERSION

    is_known = knows_mlflow()
    seconds = FALLBACK_CACHE_SECONDS if count == 1 and not is_known else 0
    beside("auth_config").lay_over(auth_cache_ttl_seconds=str(seconds))
    if is_known:
        return
    known = " and ".join(f"{major}.{minor}" for major, minor in beside("fastauth").SUPPORTED_MINORS)
    how = f"remembers a right one for {seconds} s" if seconds else "remembers none, as several processes serve"
    sys.stderr.write(
        f"deployer: MLflow {VERSION} checks passwords itself and slowly, because only {known} are known well enough "
        f"for fast checks, and decides itself who may use the routes that those do not have; it {how}\n"
    )


def prepared_app() -> FastAPI:
    """Return MLflow's application on databases that have its schema; no other server makes its own meanwhile."""
    databases = beside("databases")
    try:
        with databases.alone():
            prepare_databases()
            return create_app()
    except databases.Unusable as error:
        raise Refusal(str(error)) from error


def prepare_databases() -> None:
    """Make the schemas where the databases are empty; must run before mlflow.server.auth is imported."""
    databases = beside("databases")
    databases.point_to_auth_database(beside("auth_config").lay_over)
    databases.prepare()


def beside(name: str) -> Any:
    """Import a module that lies beside this file, without leaving a compiled copy there."""
    import importlib

    usual, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return importlib.import_module(name)
    finally:
        sys.dont_write_bytecode = usual


def create_app() -> FastAPI:
    """Return MLflow's application with basic auth on and the admin user made, plus `/health/stores`."""
    threads, engines = number(THREADS, MOST_THREADS), beside("engines")
    is_known = knows_mlflow()
    checks, fastauth, gate = beside("fastauth_checks"), beside("fastauth"), beside("fastauth_gate")
    bodies, most = beside("bodies"), number(MAX_REQUEST_BODY, USUAL_REQUEST_BODY)
    from mlflow.exceptions import MlflowException
    from mlflow.server import handlers
    from werkzeug.security import check_password_hash

    backend, registry = os.environ["_MLFLOW_SERVER_FILE_STORE"], os.environ["_MLFLOW_SERVER_REGISTRY_STORE"]
    try:
        prepare_stores(engines)
        handlers.initialize_backend_stores(backend, registry, os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"])
        from mlflow.server import auth

        if is_known:
            logins = check_logins(fastauth, checks.Verified(check_password_hash))
        else:
            logins = fastauth.MLflowsOwn(checks.Verified(auth.store.authenticate_user, keep_wrong=False))
        with engines.of_logins(number(LOGIN_CONNECTIONS, 1) if os.environ.get(LOGIN_CONNECTIONS) else None):
            app: FastAPI = auth.create_app()
        beside("compressed_bodies").install(fastauth._demand if is_known else None, most)
        if is_known:
            close_gaps("one_reading", "stale_grants")
    except MlflowException as error:
        raise Refusal(error.message) from error
    except fastauth.UnknownSeam as error:
        raise Refusal(f"this MLflow checks passwords in another way than the supported ones: {error}") from error
    beside("health").add_stores_health(app)
    beside("threads").bound(app, threads, reaps=not is_known)
    if transfer := os.environ.get(TRANSFER):
        if transfer not in {"proxied", "direct"}:
            raise Refusal(f"{TRANSFER} must be proxied or direct")
        artifacts = beside("artifacts")
        artifacts.advertise(transfer)
        artifacts.delete_as_before()
    beside("workspaces").refuse_as_bad_request()
    beside("static_files").install(app)
    cap_bodies(app, most)
    close_routes(app, known=is_known)
    straight = beside("fastauth_routes").install(app) if is_known else None
    app.add_middleware(
        gate.Gate,
        logins=logins,
        throttle=checks.Throttle(),
        is_open=auth.is_unprotected_route,
        forwarded=os.environ.get(FORWARDED) == "true",
        access_log=os.environ.get(ACCESS_LOG) == "true",
        passes_on=not is_known or auth.auth_config.authorization_function != BASIC_AUTH,
        # a body is read before that thread begins: one that is large waits until its login was looked up
        **({"has_a_thread": lambda scope: straight(scope) and bodies.is_small(scope)} if straight else {}),
    )
    add_origins(app)
    # what looks at hosts and origins goes first (a stable sort): no page of another one learns which login is right
    app.user_middleware.sort(key=lambda found: getattr(found.cls, "__module__", "") not in OF_ORIGINS)
    return app


def check_logins(fastauth: Any, passwords: Any) -> Any:
    """Check logins and permissions of a supported MLflow here, close its gaps, and return the look-up of logins."""
    memory, search, closed = (beside(f"fastauth_{part}") for part in ("memory", "search", "closed"))
    logins = fastauth.install(passwords, memory, search, closed, beside("artifact_locations"))
    limit_members(memory.current, fastauth._demand)
    beside("trace_owners").install(memory.current, fastauth._demand)
    beside("wildcard_names").install()
    beside("readable_rows").install(memory.current, fastauth._demand, search.applies)
    close_gaps("trace_exports", "scorer_owners", "hidden_names", "experiment_ids")
    return logins


def close_gaps(*parts: str) -> None:
    """Install parts that close gaps in MLflow's permissions; each refuses an MLflow that is not as expected."""
    for part in parts:
        beside(part).install(beside("fastauth")._demand)


def prepare_stores(engines: Any) -> None:
    """Bound what MLflow's stores take of the machine; must run before one is made."""
    engines.share()
    engines.lock_no_file()
    beside("regular_expressions").install(beside("matcher"))
    beside("search_filters").bound()


def close_routes(app: FastAPI, *, known: bool) -> None:
    """Close routes as routes.tsv says, and name those that are closed because the list does not have them."""
    from mlflow.version import VERSION

    if unlisted := beside("routes").install(app, VERSION, known=known):
        sys.stderr.write(
            f"deployer: closed, because routes.tsv has no line for MLflow {VERSION}: {', '.join(unlisted)}\n"
        )


def limit_members(current: Any, demand: Any) -> None:
    """Close gaps in MLflow's permissions where the sender of the request decides; `current` holds the sender."""
    for part in ("artifact_paths", "missing_ids", "model_links", "user_names"):
        beside(part).install(current, demand)
    beside("shared_datasets").install(current, demand, beside("readable_rows"))


def add_origins(app: FastAPI) -> None:
    """Have requests of other sites' pages refused, unless MLflow is told not to look at origins."""
    if os.environ.get("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE") == "true":
        return
    listed = os.environ.get("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "").split(",")
    app.add_middleware(
        beside("origins").Origins,
        allowed=[origin.strip() for origin in listed if origin.strip()],
        forwarded=os.environ.get(FORWARDED) == "true",
    )


def cap_bodies(app: FastAPI, most: int) -> None:
    """Bound the bodies of requests to `most` bytes, or less; call it before other routes are put in front."""
    from mlflow.server import auth

    bodies, decoded = beside("bodies"), beside("decoded_bodies")
    decoded.shorten_errors(app)
    decoded.shorten_metadata()
    limits = {"streams": bodies.streams_uploads(app.router.routes), "is_validated": decoded.validated_in(app)}
    app.add_middleware(bodies.Capped, most=most, is_open=auth.is_unprotected_route, **limits)


def release_connections() -> None:
    """Close every connection to a database: a forked process must not talk on its parent's."""
    import sqlalchemy

    for engine in [found for found in gc.get_objects() if isinstance(found, sqlalchemy.engine.Engine)]:
        engine.dispose()


def serve(app: FastAPI, listener: socket.socket, count: int = 1) -> None:
    """Serve `app` on `listener` until SIGTERM or SIGINT, in this process or in `count` forked ones."""
    serving = beside("serving")
    if count == 1:
        serving.run(app, listener, beside)
    else:
        beside("workers").run(count, lambda: serving.run(app, listener, beside, evenly=True))


if __name__ == "__main__":
    main()
