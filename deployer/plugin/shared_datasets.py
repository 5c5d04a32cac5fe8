"""Lets a search return a dataset only if the user may read all experiments of the dataset; does not import deployer.

An evaluation dataset may belong to several experiments. To get a dataset, a user needs READ on all of them
(mlflow/server/auth `validate_can_read_dataset`). To search datasets, a user needs READ only on the experiments that the
request names (`validate_can_search_evaluation_datasets`), and the result shows name, tags and digest. With this module,
the search returns only datasets that the user may get. readable_rows.py adds the condition to the search.

MLflow stores the experiments of a new dataset as the request spells them, for example `02`. Permissions name the
experiment `2`. With this module, the server stores numbers in MLflow's own spelling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import wraps
from typing import Any

SEARCH = (
    "search_datasets",
    "(self, experiment_ids=None, filter_string=None, max_results=1000, order_by=None, page_token=None)",
)
CREATE = ("create_dataset", "(self, name, tags=None, experiment_ids=None)")
EXPERIMENT = "experiment"


def seams() -> Iterator[tuple[Any, str, str]]:
    """Yield (owner, function name, required signature) for each MLflow function that is replaced."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    yield SqlAlchemyStore, *SEARCH
    yield SqlAlchemyStore, *CREATE


def install(
    current: ContextVar[Any], demand: Callable[..., None], rows: Any, canonical: Callable[[str, str], str]
) -> None:
    """Add a condition to the searches of non-admin users, and store experiment numbers in one spelling.

    `current` holds the login of the current request (`fastauth_memory.Memory`). `demand` rejects another signature.
    `rows` is the module readable_rows, which must be installed, too. `canonical` is a function of experiment_ids.py.
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
    SqlAlchemyStore.create_dataset = _with_canonical_experiments(SqlAlchemyStore.create_dataset, canonical)


def _with_canonical_experiments(usual: Callable[..., Any], canonical: Callable[[str, str], str]) -> Callable[..., Any]:
    @wraps(usual)
    def create_dataset(self: Any, name: str, tags: Any = None, experiment_ids: list[str] | None = None) -> Any:
        told = dict.fromkeys(canonical(EXPERIMENT, str(number)) for number in experiment_ids or ())
        return usual(self, name, tags, list(told) or None)

    return create_dataset


def _of_readable_experiments(rows: Any, username: str, dialect: str) -> Any:
    """Return the condition that the user may read all experiments of a dataset; None if all are readable."""
    from mlflow.entities.entity_type import EntityAssociationType as Type
    from mlflow.store.tracking.dbmodels.models import SqlEntityAssociation as Link
    from mlflow.store.tracking.dbmodels.models import SqlEvaluationDataset
    from sqlalchemy import exists

    is_readable = rows._readable(username, Link.destination_id, dialect, EXPERIMENT)
    if is_readable is None:
        return None
    of_experiment = (Link.source_type == Type.EVALUATION_DATASET, Link.destination_type == Type.EXPERIMENT)
    return ~exists().where(Link.source_id == SqlEvaluationDataset.dataset_id, *of_experiment, ~is_readable)
