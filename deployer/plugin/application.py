"""Assembles the application: MLflow's own, the login and permission checks inside it, and the middleware around it.

Nothing here imports mlflow.server before `create_app` is called: MLflow reads its environment when it is imported.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from . import seams, settings
from .auth import fail_closed, flask_route, logins, request_cache
from .auth.authenticator import Authenticator
from .auth.gate import Gate
from .auth.origins import Origins
from .auth.passthrough import PassthroughAuthenticator
from .auth.throttle import Throttle
from .auth.verified_passwords import Verified
from .bodies import compressed, decoded, size_limits, slow_texts, trace_exports
from .gateway import compact_route, costs, experiments, provider_headers, self_calls, stored_logins, traces
from .permissions import (
    artifact_locations,
    artifact_paths,
    denied_tiers,
    experiment_ids,
    experiment_numbers,
    experiment_search,
    guardrail_scorers,
    hidden_names,
    missing_ids,
    model_links,
    named_files,
    object_owners,
    one_reading,
    prompt_markers,
    readable_rows,
    review_queues,
    role_names,
    routes,
    run_assessments,
    scorer_classes,
    scorer_experiments,
    search_patterns,
    shared_datasets,
    stale_grants,
    trace_owners,
    user_names,
    version_kinds,
    version_locations,
    version_sources,
    wildcard_names,
    workspace_grants,
)
from .serving import health, page_guard, static_files, threads, workspaces
from .settings import Refusal, is_on, number
from .storage import artifact_transfers, databases, engines, regular_expressions, search_filters, stored_json

if TYPE_CHECKING:
    from fastapi import FastAPI

OF_ORIGINS = (Origins.__module__, "mlflow.server.fastapi_security", "starlette.middleware.cors")  # modules
BASIC_AUTH = "mlflow.server.auth:authenticate_request_basic_auth"  # MLflow's default for authenticating requests
# These modules close gaps in a supported MLflow, and are installed in this order. If two modules wrap a function, the
# wrapper of the later one runs first.
BEFORE_CREATION: tuple[ModuleType, ...] = (
    request_cache,
    experiment_search,
    fail_closed,
    artifact_locations,
    artifact_paths,
    missing_ids,
    model_links,
    prompt_markers,
    user_names,
    shared_datasets,
    version_locations,
    version_kinds,
    version_sources,
    run_assessments,
    review_queues,
    named_files,
    trace_owners,
    wildcard_names,
    experiment_numbers,
    readable_rows,
    object_owners,
    slow_texts,
    stored_json,
    trace_exports,
    scorer_experiments,
    hidden_names,
    experiment_ids,
    self_calls,
    stored_logins,
    experiments,
    provider_headers,
    traces,
    costs,
    compact_route,
    role_names,
    search_patterns,
    scorer_classes,
    guardrail_scorers,
    workspace_grants,
    denied_tiers,
)
AFTER_CREATION: tuple[ModuleType, ...] = (one_reading, stale_grants)  # they need the routes of the application


def prepare_databases() -> None:
    """Create the schemas in empty databases; call this before mlflow.server.auth is imported."""
    databases.point_to_auth_database()
    databases.prepare()


def create_app() -> FastAPI:
    """Return MLflow's application with basic auth, the admin user, and `/health/stores`.

    Raises:
        Refusal: the server must not start with this configuration or this MLflow.
    """
    from mlflow.version import VERSION

    is_known = seams.supports(VERSION)
    count = number(settings.THREADS, settings.MOST_THREADS)
    most = number(settings.MAX_REQUEST_BODY, settings.USUAL_REQUEST_BODY)
    app, authenticator = _mlflow_application(VERSION, most, is_known=is_known)
    health.add_stores_health(app)
    threads.bound(app, count, reaps=not is_known)
    _choose_transfers(is_known=is_known)
    workspaces.refuse_as_bad_request()
    static_files.install(app)
    page_guard.install(app)
    _cap_bodies(app, most)
    _close_routes(app, VERSION, is_known=is_known)
    _add_gate(app, authenticator, is_known=is_known)
    _add_origins(app)
    # A stable sort moves the checks of hosts and origins before the check of the login. Otherwise, pages of other sites
    # could learn which login is right.
    app.user_middleware.sort(key=lambda found: getattr(found.cls, "__module__", "") not in OF_ORIGINS)
    return app


def _mlflow_application(version: str, most: int, *, is_known: bool) -> tuple[FastAPI, Authenticator]:
    """Return MLflow's application with the checks inside it, and the object that looks up logins."""
    from mlflow.exceptions import MlflowException
    from mlflow.server import handlers

    backend, registry = os.environ["_MLFLOW_SERVER_FILE_STORE"], os.environ["_MLFLOW_SERVER_REGISTRY_STORE"]
    connections = number(settings.LOGIN_CONNECTIONS, 1) if os.environ.get(settings.LOGIN_CONNECTIONS) else None
    try:
        if is_known:
            seams.check(version)
        _prepare_stores()
        handlers.initialize_backend_stores(backend, registry, os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"])
        from mlflow.server import auth

        authenticator = _install_checks() if is_known else _passthrough()
        with engines.of_logins(connections):
            app: FastAPI = auth.create_app()
        compressed.install(most)
        for module in AFTER_CREATION if is_known else ():
            module.install()
    except MlflowException as error:
        raise Refusal(error.message) from error
    except seams.UnknownSeam as error:
        raise Refusal(f"this MLflow checks passwords in another way than the supported ones: {error}") from error
    return app, authenticator


def _prepare_stores() -> None:
    """Bound the resources that MLflow's stores use; call this before a store is created."""
    engines.share()
    engines.lock_no_file()
    engines.skip_pings()
    regular_expressions.install()
    search_filters.bound()


def _install_checks() -> logins.Logins:
    """Install the login and permission checks for a supported MLflow; return the object that looks up logins."""
    from werkzeug.security import check_password_hash

    for module in BEFORE_CREATION:
        module.install()
    return logins.install(Verified(check_password_hash))


def _passthrough() -> PassthroughAuthenticator:
    from mlflow.server import auth

    return PassthroughAuthenticator(Verified(auth.store.authenticate_user, keep_wrong=False))


def _choose_transfers(*, is_known: bool) -> None:
    """Configure transfers of artifacts to and from S3, if artifacts are stored there."""
    if transfer := os.environ.get(settings.TRANSFER):
        if transfer not in {"proxied", "direct"}:
            raise Refusal(f"{settings.TRANSFER} must be proxied or direct")
        artifact_transfers.advertise(transfer)
        artifact_transfers.delete_as_before()
        if is_known:
            artifact_transfers.bound_parts()


def _cap_bodies(app: FastAPI, most: int) -> None:
    """Bound request bodies to `most` bytes or less; call this before other routes are put in front."""
    from mlflow.server import auth

    decoded.shorten_errors(app)
    decoded.shorten_metadata()
    limits = {"streams": size_limits.streams_uploads(app.router.routes), "is_validated": decoded.validated_in(app)}
    app.add_middleware(size_limits.Capped, most=most, is_open=auth.is_unprotected_route, **limits)


def _close_routes(app: FastAPI, version: str, *, is_known: bool) -> None:
    """Close routes as routes.tsv says, and report the routes that are closed because the file does not list them."""
    if unlisted := routes.install(app, version, known=is_known):
        sys.stderr.write(
            f"deployer: closed, because routes.tsv has no line for MLflow {version}: {', '.join(unlisted)}\n"
        )


def _add_gate(app: FastAPI, authenticator: Authenticator, *, is_known: bool) -> None:
    """Check logins before MLflow does."""
    from mlflow.server import auth

    straight = flask_route.install(app) if is_known else None
    app.add_middleware(
        Gate,
        logins=authenticator,
        throttle=Throttle(),
        is_open=auth.is_unprotected_route,
        forwarded=is_on(settings.FORWARDED),
        access_log=is_on(settings.ACCESS_LOG),
        passes_on=not is_known or auth.auth_config.authorization_function != BASIC_AUTH,
        # the thread starts after the whole body is read, and a login must be looked up before a large body is read; so
        # only requests with small bodies leave the check to the thread
        **({"has_a_thread": lambda scope: straight(scope) and size_limits.is_small(scope)} if straight else {}),
    )


def _add_origins(app: FastAPI) -> None:
    """Refuse requests from pages of other sites, unless MLflow's security middleware is disabled."""
    if os.environ.get("MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE") == "true":
        return
    listed = os.environ.get("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", "").split(",")
    app.add_middleware(
        Origins,
        allowed=[origin.strip() for origin in listed if origin.strip()],
        forwarded=is_on(settings.FORWARDED),
    )
