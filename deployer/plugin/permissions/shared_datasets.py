"""Lets a search return a dataset only if the user may read all experiments of the dataset; does not import deployer.

An evaluation dataset may belong to several experiments. To get a dataset, a user needs READ on all of them
(mlflow/server/auth `validate_can_read_dataset`). To search datasets, a user needs READ only on the experiments that the
request names (`validate_can_search_evaluation_datasets`), and the result shows name, tags and digest. With this module,
the search returns only datasets that the user may get. readable_rows.py adds the condition to the search.

MLflow stores the experiments of a new dataset as the request spells them, for example `02`. Permissions name the
experiment `2`. With this module, the server stores numbers in MLflow's own spelling.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from .experiment_ids import EXPERIMENT, canonical
from .readable_rows import of_readable_rows, readable


def install() -> None:
    """Add a condition to the searches of non-admin users, and store experiment numbers in one spelling.

    readable_rows.py must be installed, too.
    """
    from mlflow.store.tracking.dbmodels.models import SqlEvaluationDataset
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore.search_datasets = of_readable_rows(
        SqlAlchemyStore.search_datasets, SqlEvaluationDataset, _of_readable_experiments
    )
    SqlAlchemyStore.create_dataset = _with_canonical_experiments(SqlAlchemyStore.create_dataset)


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
