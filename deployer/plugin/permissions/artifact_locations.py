"""Refuses artifact locations that non-admin users choose; does not import deployer.

MLflow reads, writes and deletes files at locations that its database stores, with the permissions of the server
process. Clients can set such locations in the tags `mlflow.artifactLocation` and `mlflow.trace.archiveLocation` of a
trace, in `artifact_location` of an experiment, and in `source` of a model version. A location in another experiment's
folder, or in the server's file system, would give the user access to files without any check of permissions. From
non-admin users, this module accepts only:

- an experiment without a location. MLflow then chooses `mlflow-artifacts:/EXPERIMENT_ID` and derives the locations of
  runs, logged models and traces from it;
- a trace with the location that MLflow derives from its experiment and its identifier;
- a model version whose source is an `mlflow-artifacts:`, `runs:` or `models:` URI without a host name. MLflow itself
  compares the source with the folder of the named run or model, and checks that the user may read that run or model
  (mlflow/server/handlers.py `_create_model_version`, mlflow/server/auth `validate_can_create_model_version`).

SQLAlchemy mapper events check new values. They cover REST, OTLP and GraphQL, because MLflow 3.17 and 3.18 write these
tables only through their mapped classes (mlflow/store/tracking/sqlalchemy_store.py,
mlflow/store/model_registry/sqlalchemy_store.py). Trace locations that were stored earlier are checked when MLflow is
about to use them. version_locations.py does the same for model versions, and version_sources.py checks the source of a
new version before MLflow's own check. Stored experiment locations need no such check: MLflow appends the identifier of
a run, a trace or a logged model to them.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from functools import wraps
from typing import Any

from ..auth.request_cache import current

LOCATION = "mlflow.artifactLocation"  # mlflow/utils/mlflow_tags.py
ARCHIVE_LOCATION = "mlflow.trace.archiveLocation"  # mlflow/tracing/constant.py `TraceTagKey`
SPANS_LOCATION = "mlflow.trace.spansLocation"
ARCHIVED = "ARCHIVE_REPO"  # with this value of SPANS_LOCATION, MLflow reads and deletes files at ARCHIVE_LOCATION
# a trace identifier becomes a path segment: a slash, a percent sign or `..` could leave the experiment's folder
IDENTIFIER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.:-]*", re.ASCII)
LONGEST = 2048  # characters of a source; MLflow stores at most 500
SOURCE = re.compile(r"(mlflow-artifacts|runs|models):/(?!/)[^\\\x00-\x1f\x7f]+")  # without a host name

Check = Callable[[Any, Any], str]  # (connection, row) -> what is wrong with the row's location, "" if nothing
IsAdministrator = Callable[[], bool]


def install() -> None:
    """Install the checks in MLflow."""
    from mlflow.server import auth, handlers
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
    from mlflow.store.tracking import sqlalchemy_store
    from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlTraceInfo, SqlTraceTag
    from sqlalchemy import event

    def is_administrator() -> bool:
        """Tell whether an administrator sent the current request; False outside a request."""
        request = current.get()
        return request is not None and request.accepted and bool(auth.store.get_user(request.username).is_admin)

    for model, check, moments in (
        (SqlExperiment, wrong_with_experiment, ("before_insert", "before_update")),
        (SqlTraceInfo, wrong_with_trace, ("before_insert",)),
        (SqlTraceTag, wrong_with_tag, ("before_insert", "before_update")),
        (SqlModelVersion, wrong_with_model_version, ("before_insert",)),
    ):
        for moment in moments:
            event.listen(model, moment, _refuse(check, is_administrator))
    handlers.get_artifact_uri_for_trace = _of_its_experiment(handlers.get_artifact_uri_for_trace, is_administrator)
    for module in (handlers, sqlalchemy_store):
        module.get_archive_uri_for_trace = _of_the_trace(module.get_archive_uri_for_trace, is_administrator)
    store = sqlalchemy_store.SqlAlchemyStore
    store._delete_archived_trace_payloads = _in_their_archives(store._delete_archived_trace_payloads, is_administrator)


def _refuse(check: Check, is_administrator: IsAdministrator) -> Callable[[Any, Any, Any], None]:
    def refuse(_mapper: Any, connection: Any, row: Any) -> None:
        if (wrong := check(connection, row)) and not is_administrator():
            raise refusal(wrong)

    return refuse


def refusal(wrong: str) -> Exception:
    """Return the error for a location that the sender of the request may not choose."""
    from mlflow.exceptions import MlflowException

    error: Exception = MlflowException.invalid_parameter_value(
        f"{wrong} Only administrators may choose where artifacts are kept."
    )
    return error


def _changed(row: Any, name: str) -> tuple[Any, Any] | None:
    """Return the old and the new value of a column that is about to be written, or None if it does not change."""
    from sqlalchemy import inspect

    history = inspect(row).attrs[name].history
    if not history.has_changes():
        return None
    return (history.deleted[0] if history.deleted else None), (history.added[0] if history.added else None)


def wrong_with_experiment(_connection: Any, row: Any) -> str:
    """Return what is wrong with an experiment's location, or "".

    MLflow first inserts an experiment without a location, and then sets the location that MLflow chose. That update is
    allowed.
    """
    from sqlalchemy import inspect

    change = _changed(row, "artifact_location")
    if change is None or not change[1] or (inspect(row).persistent and not change[0]):
        return ""
    return "'artifact_location' of an experiment must be left out."


def wrong_with_trace(_connection: Any, row: Any) -> str:
    """Return what is wrong with a trace's identifier, or ""; the identifier becomes a part of the trace's location."""
    if IDENTIFIER.fullmatch(str(row.request_id)):
        return ""
    return "The identifier of a trace may only have letters, digits, '_', '-', '.' and ':'."


def wrong_with_tag(connection: Any, row: Any) -> str:
    """Return what is wrong with a tag of a trace, or "".

    Old clients send all tags back, so a tag that does not change is allowed.
    """
    if row.key not in (LOCATION, ARCHIVE_LOCATION, SPANS_LOCATION) or _changed(row, "value") is None:
        return ""
    if row.key == SPANS_LOCATION and row.value != ARCHIVED:
        return ""
    if row.key == LOCATION and row.value == _location_of(connection, row.request_id):
        return ""
    return f"The tag '{row.key}' of a trace cannot be set to '{row.value}'."


def _location_of(connection: Any, trace_id: str) -> str | None:
    from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlTraceInfo
    from sqlalchemy import select

    query = (
        select(SqlExperiment.artifact_location)
        .join(SqlTraceInfo, SqlTraceInfo.experiment_id == SqlExperiment.experiment_id)
        .where(SqlTraceInfo.request_id == trace_id)
    )
    location = connection.execute(query).scalar_one_or_none()
    return None if location is None else _location_in(location, trace_id)


def _location_in(experiment: str, trace_id: str) -> str:
    """Return the location that MLflow derives for a trace (`SqlAlchemyStore._get_trace_artifact_location_tag`)."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.utils.uri import append_to_uri_path

    folder, artifacts = SqlAlchemyStore.TRACE_FOLDER_NAME, SqlAlchemyStore.ARTIFACTS_FOLDER_NAME
    return str(append_to_uri_path(experiment, folder, trace_id, artifacts))


def wrong_with_model_version(_connection: Any, row: Any) -> str:
    """Return what is wrong with the source of a model version, or ""."""
    source = str(row.source)
    return "" if _is_usual(source) else wrong_with_source(source)


def wrong_with_source(source: str) -> str:
    """Return the error message for a source that users may not choose."""
    return (
        f"'{source}' cannot be the source of a model version: log the model to this server, and register it from the "
        "run or the logged model."
    )


def _is_usual(source: str) -> bool:
    """Tell whether any user may use this source; prompts have a placeholder as their source, which is allowed."""
    from mlflow.server import handlers

    return source in handlers._PROMPT_SOURCE_PLACEHOLDERS or is_source(source)


def is_source(text: str) -> bool:
    """Tell whether a source is an accepted URI (see above), and has no `.` or `..` in any encoding."""
    if len(text) > LONGEST:
        return False
    while (decoded := urllib.parse.unquote(text)) != text:
        text = decoded
    return SOURCE.fullmatch(text) is not None and not {".", ".."}.intersection(text.split("/"))


def _of_its_experiment(original: Callable[[Any], str], is_administrator: IsAdministrator) -> Callable[[Any], str]:
    """Let MLflow use a trace's location only if MLflow derives the same location from the trace's experiment."""
    from mlflow.server import handlers

    @wraps(original)
    def get_artifact_uri_for_trace(trace_info: Any) -> str:
        location = original(trace_info)
        experiment = handlers._get_tracking_store().get_experiment(trace_info.experiment_id)
        own = _location_in(experiment.artifact_location, trace_info.trace_id)
        is_own = location == own and IDENTIFIER.fullmatch(trace_info.trace_id)
        if not is_own and not is_administrator():
            raise refusal(f"Trace '{trace_info.trace_id}' has a location outside its experiment.")
        return location

    return get_artifact_uri_for_trace


def _of_the_trace(original: Callable[[Any], str], is_administrator: IsAdministrator) -> Callable[[Any], str]:
    """Let MLflow read a trace's archive only if its location has the form that MLflow uses for this trace."""

    @wraps(original)
    def get_archive_uri_for_trace(trace_info: Any) -> str:
        location = original(trace_info)
        if not is_archive(location, trace_info.trace_id) and not is_administrator():
            raise refusal(f"Trace '{trace_info.trace_id}' has an archive that is not MLflow's.")
        return location

    return get_archive_uri_for_trace


def _in_their_archives(original: Callable[..., Any], is_administrator: IsAdministrator) -> Callable[..., Any]:
    """Let MLflow delete archives only if the location of each has the form that MLflow uses for its trace."""

    @wraps(original)
    def _delete_archived_trace_payloads(self: Any, selected_traces: list[Any]) -> Any:
        for trace in selected_traces:
            location = trace.archived_artifact_uri
            if location is not None and not is_archive(location, trace.trace_id) and not is_administrator():
                raise refusal(f"Trace '{trace.trace_id}' has an archive that is not MLflow's.")
        return original(self, selected_traces)

    return _delete_archived_trace_payloads


def is_archive(location: str, trace_id: str) -> bool:
    """Tell whether a location has the form of this trace's archive (`SqlAlchemyStore._archive_trace_candidate`)."""
    decoded = urllib.parse.unquote(location)
    return (
        IDENTIFIER.fullmatch(trace_id) is not None
        and decoded == location
        and re.search(rf"/[0-9]+/traces/{re.escape(trace_id)}/artifacts\Z", location) is not None
        and ".." not in location.split("/")
    )
