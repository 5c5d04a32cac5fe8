"""Reads the user name and password that a request brings, as MLflow reads them; knows nothing of deployer."""

from __future__ import annotations

import base64
from collections.abc import MutableMapping
from typing import Any

# bytes of a header with a login: 255 characters of name and 1024 of password, each of 4 bytes in UTF-8, in base64
LONGEST = 1 << 13
GATEWAY_HEADER = b"x-mlflow-authorization"  # mlflow/gateway/constants.py; there the usual one may be a provider's

Scope = MutableMapping[str, Any]


def credentials(scope: Scope) -> tuple[str, str] | None:
    """Return the user name and password that a request brings, and leave them in it in one spelling.

    What could be read in two ways, MLflow would check by itself, uncounted and in the threads that are to be kept free:
    a login that is there twice, cannot be decoded, or stands in the parameters of another scheme (Flask looks for a
    name and a password in those of any) is taken out. Tokens stay, and whatever a provider behind MLflow's gateway is
    told. A login above LONGEST is taken out unread: decoded, a password takes up to four times the memory of its
    header, for as long as the login waits to be checked.
    """
    gateways = _in_one_spelling(scope, GATEWAY_HEADER, others=True)
    # an empty one counts as none (mlflow/server/auth/__init__.py `_authenticate_fastapi_request`)
    own = scope["path"].startswith("/gateway/") and any(name == GATEWAY_HEADER for name, _ in scope["headers"])
    usual = _in_one_spelling(scope, b"authorization", others=own)
    return gateways if own else usual


def _in_one_spelling(scope: Scope, name: bytes, *, others: bool) -> tuple[str, str] | None:
    """Return the login in a header; `others`: leave those of another scheme alone, with parameters too."""
    given = [value for header, value in scope["headers"] if header == name]
    words = [value.decode("latin-1").split() for value in given]  # as MLflow does, which knows more blanks than ASCII
    basic = any(found[:1] and found[0].lower() == "basic" for found in words)
    # as Werkzeug tells parameters from a token (datastructures/auth.py `Authorization.from_header`)
    token = len(given) == 1 and b"=" not in given[0].rstrip(b"=")
    if not basic and all(words) and (others or token):
        return None
    scope["headers"] = [(header, value) for header, value in scope["headers"] if header != name]
    if len(given) != 1 or not basic or len(given[0]) > LONGEST:
        return None
    try:
        text = base64.b64decode("".join(words[0][1:])).decode()
    except ValueError:  # no base64, or no UTF-8
        return None
    scope["headers"].append((name, b"Basic " + base64.b64encode(text.encode())))
    username, _, password = text.partition(":")
    return username, password
