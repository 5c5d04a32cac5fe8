"""Starts one MLflow tracking server; runs in the server's Python and does not import deployer.

It does what `mlflow server --app-name basic-auth --workers N` does (mlflow/cli/__init__.py `server`,
mlflow/server/__init__.py `_run_server`). If N is 1, it runs one process, otherwise N workers and a small parent.
In addition, this program

- never changes the schema of a database that holds data,
- serves `/health/stores`,
- can take over a listening socket,
- reads the address of the auth database from the environment (databases.py, DEPLOYER_AUTH_DATABASE_URI),
- checks passwords with fastauth.py. An MLflow that fastauth.py does not support checks them itself.

MLflow's own environment variables configure everything:

    MLFLOW_BACKEND_STORE_URI, MLFLOW_REGISTRY_STORE_URI (default: the same), MLFLOW_ARTIFACTS_DESTINATION,
    MLFLOW_HOST (default 127.0.0.1), MLFLOW_PORT (default 5000), MLFLOW_WORKERS (default 1), MLFLOW_AUTH_CONFIG_PATH,
    MLFLOW_AUTH_ADMIN_USERNAME, MLFLOW_AUTH_ADMIN_PASSWORD, MLFLOW_FLASK_SERVER_SECRET_KEY, ...

Instead of host and port, a parent process can pass a socket as systemd does (LISTEN_PID, LISTEN_FDS; sd_listen_fds(3)).

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
FALLBACK_CACHE_SECONDS = 300  # lifetime of right passwords in MLflow's own cache
TRANSFER = "DEPLOYER_ARTIFACT_TRANSFER"  # proxied or direct; unset if artifacts are stored on a volume
FORWARDED = "DEPLOYER_FORWARDED"  # true: the last address in X-Forwarded-For is the client's
THREADS = "DEPLOYER_THREADS"  # threads that serve requests in each process
MOST_THREADS = 40  # AnyIO's own default
LOGIN_CONNECTIONS = "DEPLOYER_AUTH_CONNECTIONS"  # of each process to the auth database; unset: as to the other
OF_ORIGINS = ("origins", "mlflow.server.fastapi_security", "starlette.middleware.cors")  # modules of middleware
BASIC_AUTH = "mlflow.server.auth:authenticate_request_basic_auth"  # MLflow's default for authenticating requests
ACCESS_LOG = "DEPLOYER_ACCESS_LOG"  # true: log who requests what, to standard output
MAX_REQUEST_BODY = "DEPLOYER_MAX_REQUEST_BODY"  # bytes of a request that is not an artifact upload
USUAL_REQUEST_BODY = 32 << 20
# Secrets of programs that MLflow starts: each secret authenticates a user. This server starts none of these programs
# (mlflow/server/auth/__init__.py `_authenticate_internal_delegation_token`, `_authenticate_internal_gateway_token`).
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
    """A configuration that the server must not start with; the message tells a person what to do."""


def main() -> None:
    """Run the server until a signal ends it."""
    gc.disable()  # imports create a million objects and hardly any garbage: collections took a fifth of the start
    try:
        missing = [name for name in REQUIRED if not os.environ.get(name)]
        if missing:
            raise Refusal(f"not set: {', '.join(missing)}")
        count = number("MLFLOW_WORKERS", 1)
        ask_the_processor()
        pass_over_known_warnings()
        choose_temporary_folder()
        beside("descriptors").raise_limit()
        listener = listening_socket()  # early: a taken port must be reported now, not after seconds of imports
        configure_mlflow()
        beside("self_calls").announce(listener)
        choose_who_remembers(count)
        app = prepared_app()
    except Refusal as refusal:
        sys.stderr.write(f"deployer: refused to start: {refusal}\n")
        raise SystemExit(EX_CONFIG) from None
    if count > 1:
        release_connections()
    gc.freeze()  # imported objects stay: later collections neither scan them nor write to memory that workers share
    gc.enable()
    serve(app, listener, count)


def number(name: str, usual: int) -> int:
    """Return the number in an environment variable, or `usual` if the variable is not set."""
    wanted = os.environ.get(name) or str(usual)
    if not wanted.isascii() or not wanted.isdigit() or not int(wanted):
        raise Refusal(f"{name} must be a number from 1 on, not {wanted!r}")
    return int(wanted)


def ask_the_processor() -> None:
    """Make Python look up the processor's name now, in an empty environment; Python remembers the result.

    The look-up runs the program `uname` (platform.py `_Processor`). It would first happen when MLflow is imported. Then
    `uname`, or any program of that name on the user's PATH, would have every secret of the server in its environment.
    """
    ours = dict(os.environ)
    os.environ.clear()
    try:
        platform.processor()
    finally:
        os.environ.update(ours)


def choose_temporary_folder() -> None:
    """Make Python use TMPDIR if it is writable. By itself, Python takes a shared folder if TMPDIR's disk is full."""
    folder = os.environ.get("TMPDIR")
    if folder and os.path.isabs(folder) and os.access(folder, os.W_OK | os.X_OK):
        tempfile.tempdir = folder


def pass_over_known_warnings() -> None:
    """Keep one warning out of the log, because nobody who runs a server can act on it.

    mlflow/server/fastapi_app.py imports Starlette's bridge to WSGI, which newer releases of Starlette deprecate.
    """
    warnings.filterwarnings("ignore", message=r"starlette\.middleware\.wsgi is deprecated")


def listening_socket() -> socket.socket:
    """Return the socket that was passed to this process, or a new one bound to MLFLOW_HOST and MLFLOW_PORT."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        return socket.socket(fileno=FIRST_INHERITED_FD)
    host = os.environ.get("MLFLOW_HOST", "127.0.0.1")
    port = int(os.environ.get("MLFLOW_PORT", "5000"))
    try:
        made = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # Create the socket again from its descriptor, to read its protocol from the kernel. asyncio sets TCP_NODELAY
        # only on sockets with a known protocol (asyncio.base_events `_set_nodelay`). Without it, every response of two
        # writes waits 40 ms for a delayed acknowledgement.
        return socket.socket(fileno=made.detach())
    except OSError as error:
        raise Refusal(f"cannot listen on {host} port {port}: {error.strerror}") from error


def configure_mlflow() -> None:
    """Set what `mlflow server` sets for its workers; call this before mlflow.server is imported.

    MLflow reads these variables at import time (mlflow/server/constants.py, mlflow/server/__init__.py).
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
            # Otherwise MLflow resolves the hosts of icon URLs on the event loop, up to 5 s each
            # (mlflow/utils/validation.py `_validate_icon_url`). The server opens no icon: private hosts are harmless.
            "MLFLOW_ICON_URL_ALLOW_PRIVATE_IPS": "true",
        }
    )


def knows_mlflow() -> bool:
    """Tell whether fastauth.py supports this MLflow; call this after `configure_mlflow`."""
    from mlflow.version import VERSION

    return bool(beside("fastauth").supports(VERSION))


def choose_who_remembers(count: int) -> None:
    """Set up MLflow's own password cache, and report an MLflow that is not supported.

    Call this before mlflow.server.auth is imported. MLflow asks its own cache first, and each process has a cache of
    its own. If several processes serve, a process would go on to accept an old password after another process has
    changed it. So the cache is used only if MLflow is not supported and one process serves.
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
    """Return MLflow's application on databases with its schema; meanwhile, other servers on them must wait to start."""
    databases = beside("databases")
    try:
        with databases.alone():
            prepare_databases()
            return create_app()
    except databases.Unusable as error:
        raise Refusal(str(error)) from error


def prepare_databases() -> None:
    """Create the schemas in empty databases; call this before mlflow.server.auth is imported."""
    databases = beside("databases")
    databases.point_to_auth_database(beside("auth_config").lay_over)
    databases.prepare()


def beside(name: str) -> Any:
    """Import a module from the folder of this file, without writing a compiled copy there."""
    import importlib

    usual, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        return importlib.import_module(name)
    finally:
        sys.dont_write_bytecode = usual


def create_app() -> FastAPI:
    """Return MLflow's application with basic auth, the admin user, and `/health/stores`."""
    threads, engines = number(THREADS, MOST_THREADS), beside("engines")
    is_known = knows_mlflow()
    checks, fastauth, gate = beside("fastauth_checks"), beside("fastauth"), beside("fastauth_gate")
    bodies, most = beside("bodies"), number(MAX_REQUEST_BODY, USUAL_REQUEST_BODY)
    from mlflow.exceptions import MlflowException
    from mlflow.server import handlers
    from werkzeug.security import check_password_hash

    backend, registry = os.environ["_MLFLOW_SERVER_FILE_STORE"], os.environ["_MLFLOW_SERVER_REGISTRY_STORE"]
    try:
        prepare_stores(engines, fastauth._demand if is_known else None)
        handlers.initialize_backend_stores(backend, registry, os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"])
        from mlflow.server import auth

        if is_known:
            logins = check_logins(fastauth, checks.Verified(check_password_hash))
        else:
            logins = fastauth.PassthroughAuthenticator(checks.Verified(auth.store.authenticate_user, keep_wrong=False))
        with engines.of_logins(number(LOGIN_CONNECTIONS, 1) if os.environ.get(LOGIN_CONNECTIONS) else None):
            app: FastAPI = auth.create_app()
        beside("compressed_bodies").install(fastauth._demand if is_known else None, most)
        if is_known:
            close_gaps("one_reading", "stale_grants")
            if os.environ.get(TRANSFER):
                beside("artifacts").bound_parts(fastauth._demand)
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
        # a body is read before that thread starts, so a large body must wait until its login was looked up
        **({"has_a_thread": lambda scope: straight(scope) and bodies.is_small(scope)} if straight else {}),
    )
    add_origins(app)
    # first the checks of hosts and origins (a stable sort): pages of other sites must not learn which login is right
    app.user_middleware.sort(key=lambda found: getattr(found.cls, "__module__", "") not in OF_ORIGINS)
    return app


def check_logins(fastauth: Any, passwords: Any) -> Any:
    """Install the login and permission checks for a supported MLflow; return the object that looks up logins."""
    memory, search, closed = (beside(f"fastauth_{part}") for part in ("memory", "search", "closed"))
    logins = fastauth.install(passwords, memory, search, closed, beside("artifact_locations"))
    limit_members(memory.current, fastauth._demand)
    beside("trace_owners").install(memory.current, fastauth._demand)
    beside("wildcard_names").install()
    beside("experiment_numbers").install()
    beside("readable_rows").install(memory.current, fastauth._demand, search.applies)
    beside("object_owners").install(memory.current, fastauth._demand, beside("stale_grants"))
    close_gaps("trace_exports", "scorer_experiments", "hidden_names", "experiment_ids", "self_calls")
    close_gaps("gateway_experiments", "gateway_headers", "gateway_traces", "gateway_costs", "gateway_routes")
    close_gaps("role_names")
    return logins


def close_gaps(*parts: str) -> None:
    """Install modules that close gaps in MLflow's permission checks; each rejects an MLflow that it does not know."""
    for part in parts:
        beside(part).install(beside("fastauth")._demand)


def prepare_stores(engines: Any, demand: Any) -> None:
    """Bound the resources that MLflow's stores use; call this before a store is created."""
    engines.share()
    engines.lock_no_file()
    beside("regular_expressions").install(beside("matcher"), demand)
    beside("search_filters").bound()


def close_routes(app: FastAPI, *, known: bool) -> None:
    """Close routes as routes.tsv says, and report the routes that are closed because the file does not list them."""
    from mlflow.version import VERSION

    if unlisted := beside("routes").install(app, VERSION, known=known):
        sys.stderr.write(
            f"deployer: closed, because routes.tsv has no line for MLflow {VERSION}: {', '.join(unlisted)}\n"
        )


def limit_members(current: Any, demand: Any) -> None:
    """Close gaps in MLflow's permissions that depend on the sender of a request, who is in `current`."""
    for part in ("artifact_paths", "missing_ids", "model_links", "prompt_markers", "user_names"):
        beside(part).install(current, demand)
    beside("shared_datasets").install(current, demand, beside("readable_rows"))
    beside("version_locations").install(demand, beside("artifact_locations").refusal)
    beside("version_sources").install(demand, beside("artifact_locations"))
    close_gaps("run_assessments", "review_queues", "named_files")


def add_origins(app: FastAPI) -> None:
    """Refuse requests from pages of other sites, unless MLflow's security middleware is disabled."""
    if os.environ.get("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE") == "true":
        return
    listed = os.environ.get("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "").split(",")
    app.add_middleware(
        beside("origins").Origins,
        allowed=[origin.strip() for origin in listed if origin.strip()],
        forwarded=os.environ.get(FORWARDED) == "true",
    )


def cap_bodies(app: FastAPI, most: int) -> None:
    """Bound request bodies to `most` bytes or less; call this before other routes are put in front."""
    from mlflow.server import auth

    bodies, decoded = beside("bodies"), beside("decoded_bodies")
    decoded.shorten_errors(app)
    decoded.shorten_metadata()
    limits = {"streams": bodies.streams_uploads(app.router.routes), "is_validated": decoded.validated_in(app)}
    app.add_middleware(bodies.Capped, most=most, is_open=auth.is_unprotected_route, **limits)


def release_connections() -> None:
    """Close every database connection: a forked process must not use a connection of its parent."""
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
