"""Makes each user the owner of the user's personal review queue; does not import deployer.

A user has one personal review queue in an experiment, with the name of the user. Every editor of the experiment may
create the queue, to assign work to the user. The owner of a queue may see all work in the queue. MLflow makes the user
the owner if the request is `review-queues/get-or-create-user`. If the request is `review-queues/create`, MLflow makes
the sender of the request the owner (mlflow/server/handlers.py `_create_review_queue`).

With this module, both requests make the user the owner. A personal queue always keeps its owner
(`SqlAlchemyStore.update_review_queue`), so the module also ignores another owner that MLflow has stored earlier.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

PERSONAL = "user"  # mlflow/genai/review_queues/review_queues.py `ReviewQueueType.USER`


def install() -> None:
    """Replace MLflow's rule about owners."""
    from mlflow.server import auth
    from mlflow.store.tracking.dbmodels.models import SqlReviewQueue
    from sqlalchemy import event

    event.listen(SqlReviewQueue, "before_insert", _give_to_user)
    auth._is_review_queue_owner = _by_name(auth._is_review_queue_owner)


def _give_to_user(_mapper: Any, _connection: Any, row: Any) -> None:
    if row.queue_type == PERSONAL:
        row.created_by = row.name


def _by_name(usual: Callable[[Any, str], bool]) -> Callable[[Any, str], bool]:
    @wraps(usual)
    def _is_review_queue_owner(queue: Any, username: str) -> bool:
        if queue.queue_type == PERSONAL:
            return bool(queue.name == username.strip().lower())  # MLflow stores the name in this form
        return usual(queue, username)

    return _is_review_queue_owner
