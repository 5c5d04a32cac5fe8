"""Requires permission on the experiment of a scorer when a user uses the scorer; does not import deployer.

A scorer belongs to an experiment. For three requests, MLflow checks only the permission on the scorer: getting the
scorer's versions, deleting them, and granting permissions on the scorer (mlflow/server/auth
`_get_permission_from_scorer_name`, `validate_can_manage_resource`). A user who has lost the permission on the
experiment, or is denied the experiment, would keep the scorers in it. With this module, these requests require READ on
the experiment, too.

MLflow itself checks the permission on the experiment when a user registers a scorer or lists scorers.

Administrators put scorers into guardrails. A user with EDIT on a gateway endpoint can add a guardrail to the endpoint.
MLflow does not require READ on the experiment of the guardrail's scorer. If the user lacks READ, MLflow adds the
guardrail, but leaves the scorer out of the response. For this request, this module does not require READ, either. It
refuses the request only if the user is denied the experiment (`_guardrail_scorer_not_denied`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

OF_SCORERS = ("validate_can_read_scorer", "validate_can_delete_scorer")
OF_GRANTS = "validate_can_manage_resource"
EXPERIMENT = "experiment"
SCORER = "scorer"  # a type of objects in permissions; the name of such an object is EXPERIMENT/SCORER

Validator = Callable[[], bool]


def install() -> None:
    """Add the condition to MLflow's checks."""
    from mlflow.server import auth

    for name in OF_SCORERS:
        _replace(auth, name, lambda: str(auth._get_request_param("experiment_id")))
    _replace(auth, OF_GRANTS, lambda: _of_granted_scorer(auth))
    auth._guardrail_scorer_not_denied = _in_no_denied_experiment(auth._guardrail_scorer_not_denied, auth)


def _of_granted_scorer(auth: Any) -> str | None:
    """Return the experiment of the scorer if the request grants a permission on a scorer, else None."""
    resource_type, name = map(auth._get_request_param, ("resource_type", "resource_id"))
    experiment, slash, _ = str(name).partition("/")
    return experiment if resource_type == SCORER and slash else None


def _replace(auth: Any, name: str, experiment: Callable[[], str | None]) -> None:
    """Replace a check in MLflow's table of routes and checks, and in the module from which stale_grants.py calls it."""
    usual, validators = getattr(auth, name), auth.BEFORE_REQUEST_VALIDATORS
    checked = _in_readable_experiment(usual, experiment, auth)
    routes = [route for route, validator in validators.items() if validator is usual]
    validators.update(dict.fromkeys(routes, checked))
    setattr(auth, name, checked)


def _in_readable_experiment(validate: Validator, experiment: Callable[[], str | None], auth: Any) -> Validator:
    @wraps(validate)
    def validate_with_experiment() -> bool:
        return validate() and _reads(auth, experiment())

    return validate_with_experiment


def _reads(auth: Any, experiment: str | None) -> bool:
    if experiment is None:
        return True
    return bool(auth._get_experiment_permission(experiment, auth.authenticate_request().username).can_read)


def _in_no_denied_experiment(usual: Callable[[str], bool], auth: Any) -> Callable[[str], bool]:
    from mlflow.server.auth.requirements import ACTION_NOT_DENIED, Requirement

    @wraps(usual)
    def guardrail_scorer_not_denied(guardrail_id: str) -> bool:
        if not usual(guardrail_id):
            return False
        guardrail = auth._fetch_or_none(auth._get_tracking_store().get_gateway_guardrail, guardrail_id)
        if guardrail is None:
            return False
        experiment = (EXPERIMENT, str(guardrail.scorer.experiment_id))
        required = [Requirement(*experiment, ACTION_NOT_DENIED)]
        return bool(auth.authorize(auth.authenticate_request().username, experiment, required))

    return guardrail_scorer_not_denied
