"""Checks the permission on traces and runs that a request names besides its experiment; does not import deployer.

MLflow checks the permission on the experiment that a request names. The trace that the request names may be in another
experiment. In that case, MLflow 3.17 makes two mistakes (mlflow/store/tracking/sqlalchemy_store.py).
`SqlAlchemyStore.start_trace` moves the trace to the named experiment, so the caller can read and delete the trace
there. `log_spans` overwrites the spans of the trace. MLflow 3.18 refuses both. This module makes 3.17 refuse both, even
if the caller has permissions on the other experiment. The header `X-Mlflow-Run-Id` of OTLP requests links traces to any
run (mlflow/server/otel_api.py). This module requires the permission to update the run.

`start_trace` also stores the assessments in a request, each under the identifier that the request gives. If another
trace has an assessment with this identifier, `Session.merge` would move it to the caller's trace. So no assessment may
change its trace. `Session.merge` cannot move rows of other kinds, because the trace, run or model that was checked is
part of their primary key.

An assessment may name another assessment that it overrides. When MLflow deletes the overriding assessment, it makes the
overridden one valid again, even if that one belongs to another trace (`SqlAlchemyStore.delete_assessment`). So an
assessment may only override an assessment of its own trace.

MLflow's web pages put the identifier of an assessment into the path of a request to edit or delete it. So an identifier
must not contain a slash: `../../../roles/delete?role_id=3` would make an administrator delete a role.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

from ..auth.request_cache import Memory, current
from .artifact_locations import IDENTIFIER


def install() -> None:
    """Check the experiment of existing traces and the permission on runs before MLflow writes to them."""
    from mlflow.store.tracking.dbmodels.models import SqlAssessments
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy import event

    event.listen(SqlAssessments, "before_insert", _check_identifier)
    event.listen(SqlAssessments, "before_update", _keep_trace)
    for moment in ("before_insert", "before_update"):
        event.listen(SqlAssessments, moment, _override_own_trace)
    start_trace, log_spans = SqlAlchemyStore.start_trace, SqlAlchemyStore.log_spans
    link_traces_to_run = SqlAlchemyStore.link_traces_to_run

    @wraps(start_trace)
    def start_in_own_experiment(self: Any, trace_info: Any) -> Any:
        _check(self, trace_info.experiment_id, {trace_info.trace_id})
        return start_trace(self, trace_info)

    @wraps(log_spans)
    def log_in_own_experiment(self: Any, location: str, spans: list[Any], tracking_uri: Any = None) -> Any:
        _check(self, location, {span.trace_id for span in spans})
        return log_spans(self, location, spans, tracking_uri)

    @wraps(link_traces_to_run)
    def link_to_own_run(self: Any, trace_ids: list[str], run_id: str) -> Any:
        if not _may(current.get(), lambda username: _may_update_run(run_id, username)):
            raise _denied("No permission to update this run.")
        return link_traces_to_run(self, trace_ids, run_id)

    SqlAlchemyStore.link_traces_to_run = link_to_own_run
    SqlAlchemyStore.start_trace = start_in_own_experiment
    SqlAlchemyStore.log_spans = log_in_own_experiment


def _check_identifier(_mapper: Any, _connection: Any, assessment: Any) -> None:
    """Refuse an identifier that would lead to another route in the path of a request."""
    from mlflow.exceptions import MlflowException

    if not IDENTIFIER.fullmatch(str(assessment.assessment_id)):
        raise MlflowException.invalid_parameter_value(
            "The identifier of an assessment may only have letters, digits, '_', '-', '.' and ':'."
        )


def _keep_trace(_mapper: Any, _connection: Any, assessment: Any) -> None:
    """Refuse to move an assessment to another trace."""
    from sqlalchemy import inspect

    if inspect(assessment).attrs.trace_id.history.has_changes():
        raise _denied("An assessment with this identifier belongs to another trace.")


def _override_own_trace(_mapper: Any, connection: Any, assessment: Any) -> None:
    """Refuse to override an assessment of another trace, even if that assessment is in the same request.

    A client may send a trace again after the overridden assessment was deleted. So an unchanged value of `overrides` is
    accepted.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.tracking.dbmodels.models import SqlAssessments
    from sqlalchemy import and_, inspect, or_, select
    from sqlalchemy.orm import object_session

    overridden, trace = assessment.overrides, assessment.trace_id
    if not overridden or not inspect(assessment).attrs.overrides.history.has_changes():
        return
    new = (row for row in object_session(assessment).new if isinstance(row, SqlAssessments))
    if any((row.assessment_id, row.trace_id) == (overridden, trace) for row in new):
        return
    is_stored = and_(SqlAssessments.assessment_id == assessment.assessment_id, SqlAssessments.overrides == overridden)
    known = or_(SqlAssessments.assessment_id == overridden, is_stored)
    if connection.execute(select(1).where(SqlAssessments.trace_id == trace, known).limit(1)).first() is None:
        text = f"There is no assessment '{overridden}' of trace '{trace}' to override."
        raise MlflowException.invalid_parameter_value(text)


def _denied(text: str) -> Exception:
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

    denied: Exception = MlflowException(text, PERMISSION_DENIED)
    return denied


def _check(store: Any, experiment_id: str, trace_ids: Collection[str]) -> None:
    """Refuse the request if another experiment has one of these traces."""
    others = _experiments_of(store, trace_ids) - {int(experiment_id)}
    if others:
        raise _denied("A trace with this identifier is in another experiment.")


def _experiments_of(store: Any, trace_ids: Collection[str]) -> set[int]:
    from mlflow.store.tracking.dbmodels.models import SqlTraceInfo

    with store.ManagedSessionMaker(read_only=True) as session:
        found = session.query(SqlTraceInfo.experiment_id).filter(SqlTraceInfo.request_id.in_(trace_ids)).distinct()
        return {int(experiment_id) for (experiment_id,) in found}


def _may(sender: Memory | None, permitted: Callable[[str], bool]) -> bool:
    """Tell whether the sender of a request is an administrator or has the permission."""
    from mlflow.server import auth

    if sender is None or not sender.accepted:
        return False
    return bool(auth.store.get_user(sender.username).is_admin) or permitted(sender.username)


def _may_update_run(run_id: str, username: str) -> bool:
    """Tell whether a user may update a run, by MLflow's own rule (`validate_can_link_traces_to_run`)."""
    from mlflow.server import auth

    requirement = auth._run_requirement(run_id, "update")
    return requirement is not None and bool(auth.authorize(username, *requirement))
