"""Searches only datasets whose experiments the sender may all read; knows nothing of deployer.

An evaluation dataset may belong to several experiments. To get a dataset, MLflow demands READ on all of them
(mlflow/server/auth `validate_can_read_dataset`). To search datasets, it demands READ on the experiments that the
request names (`validate_can_search_evaluation_datasets`), and returns name, tags and digest. Here both demand the same.
The condition is put into the search by readable_rows.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

SEARCH = (
    "search_datasets",
    "(self, experiment_ids=None, filter_string=None, max_results=1000, order_by=None, page_token=None)",
)


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield the object whose function is replaced, and the function with the signature that it must have."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    yield SqlAlchemyStore, *SEARCH


def install(current: ContextVar[Any], demand: Callable[..., None], rows: Any) -> None:
    """Put a condition into the members' searches.

    `current` holds who sent the request that is served (`fastauth_memory.Memory`); `demand` refuses other signatures;
    `rows` is the module readable_rows, which has to be installed too.
    """
    from mlflow.store.tracking.dbmodels.models import SqlEvaluationDataset
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    for seam in seams():
        demand(*seam)

    def condition(username: str, dialect: str) -> Any:
        return _of_readable_experiments(rows, username, dialect)

    usual = SqlAlchemyStore.search_datasets
    SqlAlchemyStore.search_datasets = rows._of_readable_rows(
        usual, SqlEvaluationDataset, condition, current, rows._never
    )


def _of_readable_experiments(rows: Any, username: str, dialect: str) -> Any:
    """Return the condition that the user may read all experiments of a dataset, None where all may be read."""
    from mlflow.entities.entity_type import EntityAssociationType as Type
    from mlflow.store.tracking.dbmodels.models import SqlEntityAssociation as Link
    from mlflow.store.tracking.dbmodels.models import SqlEvaluationDataset
    from sqlalchemy import exists

    is_readable = rows._readable(username, Link.destination_id, dialect, "experiment")
    if is_readable is None:
        return None
    of_experiment = (Link.source_type == Type.EVALUATION_DATASET, Link.destination_type == Type.EXPERIMENT)
    return ~exists().where(Link.source_id == SqlEvaluationDataset.dataset_id, *of_experiment, ~is_readable)
