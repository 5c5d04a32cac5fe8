r"""Keeps patterns in searches from telling anything about rows that the search excludes; does not import deployer.

A database evaluates the conditions of a search in any order. So it may evaluate a pattern (`RLIKE`, `LIKE`, `ILIKE`) on
rows that another condition excludes. Some patterns fail on some values. A regular expression may take too long. If a
`LIKE` pattern ends with `\`, PostgreSQL reports an error only for values that match the part before the `\`. A user who
sees such an error learns something about a hidden row. A user also learns something from the time: a long `LIKE`
pattern takes long only on a value with the same beginning. Two rules prevent this:

- A search of traces evaluates patterns only on values of traces in the requested experiments. MLflow limits only
  `trace_info` to these experiments, and not the subqueries for assessments, tags, metadata and spans
  (mlflow/store/tracking/sqlalchemy_store.py `_get_filter_clauses_for_search_traces`). With this module, the left side
  of each pattern is a subquery that returns NULL for other traces. A CASE would not be enough: if the search also has
  the condition `experiment_id = 1`, SQLite replaces `experiment_id` by the constant 1 in the CASE, too.
- Every search refuses `LIKE` patterns that fail on some values.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Any

CLAUSES = "_get_filter_clauses_for_search_traces"
LIKES = frozenset({"LIKE", "ILIKE"})
PATTERNS = LIKES | {"RLIKE"}
SQLITE, POSTGRESQL = "sqlite", "postgresql"  # the names in mlflow/store/db/db_types.py
LONGEST = 50_000  # bytes of a LIKE pattern in SQLite (https://www.sqlite.org/limits.html)

Comparison = Callable[[Any, Any], Any]  # (column, value) -> condition

_searched: ContextVar[Any] = ContextVar("deployer_search_patterns", default=None)


def install() -> None:
    """Replace MLflow's functions."""
    from mlflow.store.tracking import sqlalchemy_store
    from mlflow.utils.search_utils import SearchTraceUtils, SearchUtils

    checked = _without_failing_patterns(SearchUtils.get_sql_comparison_func)
    SearchUtils.get_sql_comparison_func = staticmethod(checked)
    SearchTraceUtils.get_sql_comparison_func = staticmethod(_on_searched_traces(checked))
    setattr(sqlalchemy_store, CLAUSES, _with_searched_traces(getattr(sqlalchemy_store, CLAUSES)))


def wrong_with_like(pattern: str, dialect: str) -> str | None:
    """Return why a database may fail to evaluate a LIKE pattern, or None."""
    if dialect == SQLITE and len(pattern.encode(errors="replace")) > LONGEST:
        return f"is longer than {LONGEST} bytes"
    if dialect == POSTGRESQL and (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        return "ends with the escape character \\"
    return None


def _without_failing_patterns(usual: Callable[[str, str], Comparison]) -> Callable[[str, str], Comparison]:
    from mlflow.exceptions import MlflowException

    @wraps(usual)
    def get_sql_comparison_func(comparator: str, dialect: str) -> Comparison:
        compare = usual(comparator, dialect)

        def checked(column: Any, value: Any) -> Any:
            wrong = wrong_with_like(value, dialect) if comparator in LIKES and isinstance(value, str) else None
            if wrong:
                raise MlflowException.invalid_parameter_value(f"the pattern of a {comparator} {wrong}")
            return compare(column, value)

        return checked

    return get_sql_comparison_func


def _with_searched_traces(usual: Callable[..., Any]) -> Callable[..., Any]:
    """Remember which traces a search is for while MLflow builds the conditions of the search."""

    @wraps(usual)
    def get_filter_clauses(filter_string: Any, session: Any, dialect: str, scoped_trace_query: Any) -> Any:
        token = _searched.set(scoped_trace_query)
        try:
            return usual(filter_string, session, dialect, scoped_trace_query)
        finally:
            _searched.reset(token)

    return get_filter_clauses


def _on_searched_traces(usual: Callable[[str, str], Comparison]) -> Callable[[str, str], Comparison]:
    @wraps(usual)
    def get_sql_comparison_func(comparator: str, dialect: str) -> Comparison:
        compare, traces = usual(comparator, dialect), _searched.get()
        # no condition means no experiments; MLflow does not let members search without experiments
        if comparator not in PATTERNS or traces is None or traces.whereclause is None:
            return compare
        return lambda column, value: compare(_of_searched(traces, column), value)

    return get_sql_comparison_func


def _of_searched(traces: Any, column: Any) -> Any:
    """Return the value of a column if its row belongs to one of the traces that a query selects, else NULL.

    The subquery looks up the row and its trace by their primary keys.

    Raises:
        KeyError: the column is of a table that trace searches did not use when this module was written.
    """
    from mlflow.store.tracking.dbmodels import models
    from sqlalchemy import inspect, select
    from sqlalchemy.orm import aliased

    owner = column.class_
    trace_id = {
        models.SqlTraceInfo: "request_id",
        models.SqlTraceTag: "request_id",
        models.SqlTraceMetadata: "request_id",
        models.SqlSpan: "trace_id",
        models.SqlAssessments: "trace_id",
    }[owner]
    row, mapper = aliased(owner), inspect(owner)
    keys = [mapper.get_property_by_column(key).key for key in mapper.primary_key]
    same = [getattr(row, key) == getattr(owner, key) for key in keys]
    named = traces.with_entities(models.SqlTraceInfo.request_id).filter(
        models.SqlTraceInfo.request_id == getattr(row, trace_id)
    )
    # `correlate` takes one table from the outer query; each subquery selects from its own copy of all other tables
    return (
        select(getattr(row, column.key)).where(*same, named.correlate(row).exists()).correlate(owner).scalar_subquery()
    )
