"""Protects evaluation datasets that belong to several experiments; does not import deployer.

An evaluation dataset may belong to several experiments. To get a dataset, a user needs READ on all of them
(mlflow/server/auth `validate_can_read_dataset`). To search datasets, a user needs READ only on the experiments that the
request names (`validate_can_search_evaluation_datasets`), and the result shows name, tags and digest. With this module,
the search returns only datasets that the user may get. readable_rows.py adds the condition to the search.

A user with only EDIT on the dataset's experiments may add the dataset to another experiment, or remove it from one
(`validate_can_add_dataset_to_experiments`, `validate_can_update_dataset`). Either change can close the dataset to other
users. A dataset that is added to an experiment becomes closed to users who may not read that experiment. A dataset that
is removed from all experiments becomes closed to all members. A member with EDIT could also move the dataset to an
experiment of their own, and then delete it. With this module, both changes require the permission to delete the
dataset, which is MANAGE on all of its experiments.

MLflow stores the experiments of a new dataset as the request spells them, for example `02`. Permissions name the
experiment `2`. With this module, the server stores numbers in MLflow's own spelling.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from .experiment_ids import EXPERIMENT, canonical
from .readable_rows import of_readable_rows, readable

MOVES = ("/add-experiments", "/remove-experiments")  # ends of routes


def install() -> None:
    """Add the condition and the other checks; readable_rows.py must be installed, too."""
    from mlflow.server import auth
    from mlflow.store.tracking.dbmodels.models import SqlEvaluationDataset
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore.search_datasets = of_readable_rows(
        SqlAlchemyStore.search_datasets, SqlEvaluationDataset, _of_readable_experiments
    )
    SqlAlchemyStore.create_dataset = _with_canonical_experiments(SqlAlchemyStore.create_dataset)
    validators = auth.DATASET_BEFORE_REQUEST_VALIDATORS
    for route, validator in validators.items():
        if route[0].pattern.endswith(MOVES):
            validators[route] = _of_deletable_datasets(validator, auth)


def _of_deletable_datasets(usual: Callable[[], bool], auth: Any) -> Callable[[], bool]:
    @wraps(usual)
    def validate() -> bool:
        return usual() and bool(auth.validate_can_delete_dataset())

    return validate


def _with_canonical_experiments(usual: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(usual)
    def create_dataset(self: Any, name: str, tags: Any = None, experiment_ids: list[str] | None = None) -> Any:
        told = dict.fromkeys(canonical(EXPERIMENT, str(number)) for number in experiment_ids or ())
        return usual(self, name, tags, list(told) or None)

    return create_dataset


def _of_readable_experiments(username: str, dialect: str) -> Any:
    """Return the condition that the user may read all experiments of a dataset; None if all are readable."""
    from mlflow.entities.entity_type import EntityAssociationType as Type
    from mlflow.store.tracking.dbmodels.models import SqlEntityAssociation as Link
    from mlflow.store.tracking.dbmodels.models import SqlEvaluationDataset
    from sqlalchemy import exists

    is_readable = readable(username, Link.destination_id, dialect, EXPERIMENT)
    if is_readable is None:
        return None
    of_experiment = (Link.source_type == Type.EVALUATION_DATASET, Link.destination_type == Type.EXPERIMENT)
    return ~exists().where(Link.source_id == SqlEvaluationDataset.dataset_id, *of_experiment, ~is_readable)
