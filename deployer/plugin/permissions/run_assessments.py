"""Limits which assessments a user deletes together with a run; does not import deployer.

The metadata of an assessment may name a run (`mlflow.assessment.sourceRunId`), and clients choose the metadata. When a
user deletes the run, alone or with its experiment, MLflow deletes all assessments that name the run, in all
experiments. It checks no permission on them (`SqlAlchemyStore._mark_run_deleted`).

With this module, a non-admin user deletes only assessments of traces in the run's own experiment, and only with the
permission that MLflow requires when a user deletes an assessment (mlflow/server/auth `validate_can_delete_assessment`).
All other assessments stay, and the run is deleted all the same.

While MLflow marks a run as deleted, the module adds a condition to each statement that selects or deletes assessments.
"""

from __future__ import annotations

from contextvars import ContextVar
from functools import wraps
from typing import Any

_condition: ContextVar[Any] = ContextVar("deployer_run_assessments", default=None)


def install() -> None:
    """Add the condition to the deletion of runs."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    usual = SqlAlchemyStore._mark_run_deleted

    @wraps(usual)
    def _mark_run_deleted(self: Any, session: Any, run: Any) -> None:
        token = _condition.set(_deletable(run.experiment_id))
        try:
            usual(self, session, run)
        finally:
            _condition.reset(token)

    SqlAlchemyStore._mark_run_deleted = _mark_run_deleted
    event.listen(Session, "do_orm_execute", _leave_out)


def _leave_out(execution: Any) -> None:
    """Add the condition to a statement, if the statement selects or deletes assessments."""
    from mlflow.store.tracking.dbmodels.models import SqlAssessments
    from sqlalchemy.orm import with_loader_criteria

    condition = _condition.get()
    if condition is None or execution.is_relationship_load or execution.is_column_load:
        return
    if execution.is_select or execution.is_delete:
        execution.statement = execution.statement.options(with_loader_criteria(SqlAssessments, condition))


def _deletable(experiment_id: int) -> Any:
    """Return the condition for assessments that the sender may delete; None if these are all assessments."""
    from flask import has_request_context
    from mlflow.server import auth
    from mlflow.store.tracking.dbmodels.models import SqlAssessments, SqlTraceInfo
    from sqlalchemy import false, select

    if not has_request_context() or auth.sender_is_admin():
        return None
    experiment = ("experiment", str(experiment_id))
    of_experiment = (auth.Requirement(*experiment, "update"),)
    requirements = [
        auth.Requirement(*experiment, "read"),
        auth.Requirement("assessment", "*", "delete", fallback_if_no_grant=of_experiment),
    ]
    if not auth.authorize(auth.authenticate_request().username, experiment, requirements):
        return false()
    # an assessment also has a column for the experiment, but the column may be empty
    return SqlAssessments.trace_id.in_(
        select(SqlTraceInfo.request_id).where(SqlTraceInfo.experiment_id == experiment_id)
    )
