"""Bounds work that grows with the square of a text's length; does not import deployer.

A short request may contain such a text, and a client can compress it. Python keeps the interpreter's lock during this
work, so the whole server would wait, for hours:

- `unicodedata.normalize` sorts combining characters. Python calls it for host names in URLs (urllib/parse.py
  `_checknetloc`) and for identifiers (`ast.literal_eval`, which MLflow uses to read lists in filters).
- MLflow 3.18 removes credentials from error messages about skills with slow regular expressions
  (mlflow/genai/skill_content/errors.py `redact_credentials`).
- MLflow decodes the source of a model version until nothing changes (mlflow/server/handlers.py `_iteratively_unquote`).
- The client of a form chooses the encoding of its fields (starlette/formparsers.py `_user_safe_decode`), and Python's
  decoder for Punycode is slow.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import wraps
from typing import Any

MOST = 4096  # characters of a text; longer than any URL, name or path that MLflow stores


def install() -> None:
    """Bound the work."""
    from mlflow.server import handlers
    from starlette import formparsers

    bounded: Any = _bounded(unicodedata.normalize)
    unicodedata.normalize = bounded
    unquote: Any = handlers._iteratively_unquote
    handlers._iteratively_unquote = _of_short_texts(unquote)
    decode: Any = _decoded
    formparsers._user_safe_decode = decode
    try:
        from mlflow.genai.skill_content import errors
    except ImportError:
        return  # MLflow 3.17 has no skills
    module: Any = errors
    module.redact_credentials = _shortened(module.redact_credentials)


def _too_long() -> Exception:
    """Return an error that MLflow reports with status 400, and that programs of Python's library expect."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    kind: Any = type("TooLong", (MlflowException, ValueError), {})
    error: Exception = kind(f"A value has more than {MOST} characters.", INVALID_PARAMETER_VALUE)
    return error


def _bounded(normalize: Callable[..., str]) -> Callable[..., str]:
    def normalized(form: Any, text: str, /) -> str:
        if len(text) > MOST and not text.isascii():  # ASCII stays as it is, without any work
            raise _too_long()
        return normalize(form, text)

    return normalized


def _of_short_texts(unquote: Callable[[str], str]) -> Callable[[str], str]:
    @wraps(unquote)
    def unquoted(value: str) -> str:
        if len(value) > MOST:
            raise _too_long()
        return unquote(value)

    return unquoted


def _shortened(redact: Callable[[str], str]) -> Callable[[str], str]:
    """Shorten a text before credentials are removed from it."""

    @wraps(redact)
    def redacted(text: str) -> str:
        return redact(text[:MOST])

    return redacted


def _decoded(source: bytes | bytearray, _codec: str) -> str:
    """Decode a field of a form; all clients of MLflow send UTF-8."""
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError:
        return source.decode("latin-1")
