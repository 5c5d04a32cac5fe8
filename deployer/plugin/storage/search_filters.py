"""Bounds the text of filters and orders in searches before it is parsed; does not import deployer.

sqlparse creates a token for almost every character, and checks the number of tokens only afterwards. A body of 32 MiB
took gigabytes of memory.
"""

from __future__ import annotations

from typing import Any

# characters; 5,000 run ids take 175,000, and sqlparse accepts no more (sqlparse/engine/grouping.py MAX_GROUPING_TOKENS)
LONGEST = 1 << 18


def bound() -> None:
    """Refuse texts longer than LONGEST; MLflow and sqlparse both call the replaced function through its module."""
    from mlflow.exceptions import MlflowException
    from sqlparse import lexer

    usual = lexer.tokenize

    def tokenize(sql: Any, encoding: str | None = None) -> Any:
        if isinstance(sql, str) and len(sql) > LONGEST:
            raise MlflowException.invalid_parameter_value(
                f"a filter or an order of {len(sql)} characters is too long: {LONGEST} at most"
            )
        return usual(sql, encoding)

    lexer.tokenize = tokenize
