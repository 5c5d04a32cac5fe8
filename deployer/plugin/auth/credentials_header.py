"""Reads the user name and password of a request as MLflow reads them; does not import deployer."""

from __future__ import annotations

import base64
from collections.abc import MutableMapping
from typing import Any

# bytes of a header: 255 characters of user name and 1024 of password, each up to 4 bytes in UTF-8, encoded in base64
LONGEST = 1 << 13
GATEWAY_HEADER = b"x-mlflow-authorization"  # mlflow/gateway/constants.py; `Authorization` may be for a model provider

Scope = MutableMapping[str, Any]


def credentials(scope: Scope) -> tuple[str, str] | None:
    """Return the user name and password of a request, and rewrite the login in a canonical form.

    If MLflow found a login that this function does not see, MLflow would check that login itself, in the threads that
    serve requests, and the throttle would not count the check. So this function removes a login that is given twice or
    cannot be decoded. It also removes a login in the parameters of another scheme, such as `Digest username=...,
    password=...`. Flask reads a user name and a password from the parameters of any scheme.

    Tokens stay in the request. In a request to the gateway, a client may send the MLflow login in a separate header of
    the gateway. `Authorization` is then for the model provider and may have any scheme. A login of more than LONGEST
    bytes is removed before it is decoded: a decoded password takes up to four times the memory of its header, for as
    long as the login waits to be checked.
    """
    gateways = _in_one_spelling(scope, GATEWAY_HEADER, others=True)
    # an empty gateway header counts as no login (mlflow/server/auth/__init__.py `_authenticate_fastapi_request`)
    own = scope["path"].startswith("/gateway/") and any(name == GATEWAY_HEADER for name, _ in scope["headers"])
    usual = _in_one_spelling(scope, b"authorization", others=own)
    return gateways if own else usual


def _in_one_spelling(scope: Scope, name: bytes, *, others: bool) -> tuple[str, str] | None:
    """Return the login in a header.

    A header with another scheme than Basic stays unchanged if it holds a token. If `others` is true, such a header also
    stays if it holds parameters.
    """
    given = [value for header, value in scope["headers"] if header == name]
    words = [value.decode("latin-1").split() for value in given]  # as MLflow does, also at other white space
    basic = any(found[:1] and found[0].lower() == "basic" for found in words)
    # distinguish a token from parameters as Werkzeug does (datastructures/auth.py `Authorization.from_header`)
    token = len(given) == 1 and b"=" not in given[0].rstrip(b"=")
    if not basic and all(words) and (others or token):
        return None
    scope["headers"] = [(header, value) for header, value in scope["headers"] if header != name]
    if len(given) != 1 or not basic or len(given[0]) > LONGEST:
        return None
    try:
        text = base64.b64decode("".join(words[0][1:])).decode()
    except ValueError:  # not base64, or not UTF-8
        return None
    scope["headers"].append((name, b"Basic " + base64.b64encode(text.encode())))
    username, _, password = text.partition(":")
    return username, password
