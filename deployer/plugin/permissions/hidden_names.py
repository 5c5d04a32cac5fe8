"""Gives the same response for names that a user may not see and for missing names; does not import deployer.

MLflow looks up review queues and gateway endpoints by name before it checks permissions (mlflow/server/auth
`validate_can_view_review_queue_by_name`, `validate_can_read_gateway_endpoint`). A 404 then says that the name does not
exist, and a 403 that it exists. With this module, both cases get 403, unless the user may see all objects of the kind.

A scorer names the gateway endpoints of its models, but MLflow checks no permission on these endpoints
(`validate_can_register_scorer`). With this module, registering such a scorer requires USE on each of these
endpoints. If the scorer is an ensemble, this includes the endpoints that its scorers name.

In the other direction, a user with READ on an endpoint can request `gateway/endpoints/bindings/list`. The response
names all scorers that use the endpoint (`validate_can_list_gateway_endpoint_bindings`). With this module, the list has
only the scorers that the user may read.

Missing experiments still get 404, because MLflow's clients look up an experiment by name before they create it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

from .scorer_contents import entries

QUEUE = "validate_can_view_review_queue_by_name"
ENDPOINT = "validate_can_read_gateway_endpoint"
SCORER = "validate_can_register_scorer"
UNNAMED = "*"  # an endpoint that no permission names; only permissions on all endpoints apply to it

Validator = Callable[[], bool]


def install() -> None:
    """Replace MLflow's checks."""
    from mlflow.server import auth
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore.list_endpoint_bindings = _of_readable_scorers(SqlAlchemyStore.list_endpoint_bindings)
    for name, checked in (
        (QUEUE, _hiding(getattr(auth, QUEUE), _never)),
        (ENDPOINT, _hiding(getattr(auth, ENDPOINT), lambda: _reads_endpoint(auth, UNNAMED))),
        (SCORER, _with_usable_models(getattr(auth, SCORER), auth)),
    ):
        usual, validators = getattr(auth, name), auth.BEFORE_REQUEST_VALIDATORS
        routes = [route for route, validator in validators.items() if validator is usual]
        validators.update(dict.fromkeys(routes, checked))


def _never() -> bool:
    return False


def _hiding(validate: Validator, sees_all: Validator) -> Validator:
    """Refuse a request for an object that does not exist, unless the user may see all objects of the kind."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

    @wraps(validate)
    def hiding() -> bool:
        try:
            return validate()
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST) or sees_all():
                raise
            return False

    return hiding


def _reads_endpoint(auth: Any, identifier: str) -> bool:
    return bool(auth._get_gateway_endpoint_permission(identifier).can_read)


def _with_usable_models(validate: Validator, auth: Any) -> Validator:
    """Require USE on each gateway endpoint that a scorer names."""

    @wraps(validate)
    def validate_can_register_scorer() -> bool:
        if not validate():
            return False
        names = endpoints_of(auth._get_request_param("serialized_scorer"))
        return all(_uses_endpoint(auth, name) for name in sorted(names))

    return validate_can_register_scorer


def endpoints_of(scorer: Any) -> set[str]:
    """Return the names of all gateway endpoints in a serialized scorer.

    Every text with the form of a gateway model counts, because a scorer has its models under several keys, such as
    `model`, `reflection_lm` and `embedding_model`.
    """
    from mlflow.store.tracking import sqlalchemy_store as store

    try:
        decoded = json.loads(scorer)
    except (TypeError, ValueError):
        return set()  # MLflow refuses the scorer
    texts = {value for _, value in entries(decoded) if isinstance(value, str)}
    return {str(store.extract_endpoint_ref(text)) for text in texts if store.is_gateway_model(text)}


def _uses_endpoint(auth: Any, name: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        endpoint = auth._get_tracking_store().get_gateway_endpoint(name=name)
    except MlflowException:
        return bool(auth._get_gateway_endpoint_permission(UNNAMED).can_use)  # no such endpoint: the store reports it
    return bool(auth._get_gateway_endpoint_permission(endpoint.endpoint_id).can_use)


def _of_readable_scorers(usual: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    """Leave out the bindings of scorers that the sender of the request may not read."""
    from flask import has_request_context
    from mlflow.server import auth

    @wraps(usual)
    def list_endpoint_bindings(
        self: Any, endpoint_id: str | None = None, resource_type: str | None = None, resource_id: str | None = None
    ) -> list[Any]:
        found = usual(self, endpoint_id, resource_type, resource_id)
        if not has_request_context() or auth.sender_is_admin():
            return found
        readable = _readable_scorers(self, auth, endpoint_id)
        return [binding for binding in found if binding.resource_id in readable]

    return list_endpoint_bindings


def _readable_scorers(store: Any, auth: Any, endpoint_id: str | None) -> set[str]:
    """Return the identifiers of an endpoint's scorers that the user may read, by the rule of `filter_list_scorers`."""
    from mlflow.store.tracking.dbmodels.models import SqlGatewayEndpointBinding, SqlScorer
    from sqlalchemy import select

    username = auth.authenticate_request().username
    versions = [auth.Requirement("scorer_version", "*", auth.ACTION_NOT_DENIED)]
    reads_experiment = auth._role_based_read_predicate(username, "experiment", also_require=versions)
    reads_scorer = auth._role_based_read_predicate(username, "scorer")
    columns = (SqlScorer.scorer_id, SqlScorer.experiment_id, SqlScorer.scorer_name)
    binding = SqlGatewayEndpointBinding
    bound = SqlScorer.scorer_id.in_(select(binding.resource_id).where(binding.endpoint_id == endpoint_id))
    with store.ManagedSessionMaker(read_only=True) as session:
        return {
            identifier
            for identifier, experiment, name in session.execute(select(*columns).where(bound))
            if reads_experiment(str(experiment)) and reads_scorer(auth.store._scorer_pattern(str(experiment), name))
        }
