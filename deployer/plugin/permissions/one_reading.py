"""Refuses requests that MLflow's permission check and its handler may read differently; does not import deployer.

MLflow's permission check reads a parameter from the query, the path or the body (mlflow/server/auth/__init__.py
`_get_request_param`). The handler parses the same request again, by other rules (mlflow/server/handlers.py
`_get_request_message`). If a request names one object for the check and another object for the handler, it acts on an
object without permission. The requests of MLflow's clients and web pages follow these rules:

- GET and HEAD requests have their parameters in the query; POST, PUT and PATCH have them in a JSON object; DELETE has
  them in either.
- A field is written as in MLflow's protobuf files (`run_id`), not as in protobuf's JSON (`runId`).
- A repeated parameter has the same value each time.
- The name or the identifier of an object is text, not a number.
- Each value has the type that MLflow's protobuf files give its field. At the first value of a wrong type, MLflow stops
  parsing the message, and handles the request with the fields that it has parsed so far.

A request that breaks a rule gets 400. The check runs after MLflow has authenticated the request, and before MLflow
checks permissions. Only values of a wrong type are found later, when MLflow's handler reads the message. FastAPI's
routes need no check: there, the permission check and the handler read the same path and the same parsed body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any

# method and end of the path of routes whose body is not a JSON object: files, and the form for new users
NO_JSON = (
    ("POST", "/mlflow/upload-artifact"),
    ("PUT", "/mlflow-artifacts/artifacts/<path:artifact_path>"),
    ("POST", "/mlflow/users/create-ui"),
)
OF_MANY_RUNS = "/metrics/get-history-bulk"  # reads every `run_id` in the query
LISTS = ("order_by", "workspace")  # query parameters that are lists, though their names do not end with "s"
NAMES = ("_id", "_uuid", "name", "resource_type")  # endings of fields that name objects
NUMBERS = ("role_id", "role_permission_id")  # fields with such an ending that are numbers
ALIASES = ("run_id", "run_uuid")  # two names of one field; old clients send both
IN_BODY = ("POST", "PUT", "PATCH")  # methods with parameters in the body
NO_QUERY = "A {method} request must have its parameters in the body, not in the query."
NO_BODY = "A {method} request must have its parameters in the query, not in a body."
NOT_DECLARED = "The Content-Type of the body must be application/json."
NO_OBJECT = "The body must be a JSON object in which no key is repeated."
BOTH = "The parameters must be in the query or in the body, not in both."
SPELLING = "The field '{name}' must be written '{field}'."
NO_TEXT = "The field '{name}' must be a string."
DIFFERENT = "The parameter '{name}' has different values in one request."
WRONG_TYPE = "A field of the request has a value of the wrong type."
PARSED = "_validate_request_json_with_schema"  # `_get_request_message` calls it after it has read the message


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: a key is repeated.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is repeated")
    return found


def wrong_with_parameters(
    path: Mapping[str, Any],
    query: Mapping[str, Sequence[str]],
    body: Mapping[str, Any],
    fields: Mapping[str, str],
    lists: Iterable[str] = LISTS,
) -> str:
    """Return an error message if the parameters are ambiguous, else "".

    `path` has the variables of the route. `query` has all values of each query parameter. `fields` maps the JSON names
    of protobuf fields to their names. `lists` names the repeatable parameters that do not end with "s".
    """
    if query and body:
        return BOTH
    for name, value in body.items():
        if name in fields:
            return SPELLING.format(name=name, field=fields[name])
        if name.endswith(NAMES) and name not in NUMBERS and not isinstance(value, str | None):
            return NO_TEXT.format(name=name)

    def given(name: str) -> set[str]:
        alone = {str(part[name]) for part in (path, body) if name in part}
        return alone | set(query.get(name, ()))

    single = [name for name in query if not name.endswith("s") and name not in lists]
    for name in (*single, *path):
        if len(given(name)) > 1:
            return DIFFERENT.format(name=name)
    first, second = (given(name) for name in ALIASES)
    return DIFFERENT.format(name=ALIASES[0]) if first and second and first != second else ""


def wrong_with(request: Any, fields: Mapping[str, str]) -> str:
    """Return an error message if a Flask request is ambiguous, else ""."""
    rule = request.url_rule.rule
    body: Any = {}
    is_file_or_form = any(request.method == method and rule.endswith(end) for method, end in NO_JSON)
    if not is_file_or_form and request.method in IN_BODY and request.args:
        return NO_QUERY.format(method=request.method)
    if not is_file_or_form and request.get_data():
        if request.method in ("GET", "HEAD"):
            return NO_BODY.format(method=request.method)
        if not request.is_json:
            return NOT_DECLARED
        body = request.get_json(silent=True)
        if not isinstance(body, dict):
            return NO_OBJECT
    lists = (*LISTS, ALIASES[0]) if rule.endswith(OF_MANY_RUNS) else LISTS
    return wrong_with_parameters(request.view_args or {}, dict(request.args.lists()), body, fields, lists)


def install() -> None:
    """Run the check before MLflow's own; call this once MLflow's application has its own check (`auth.create_app`)."""
    from mlflow.exceptions import MlflowException
    from mlflow.server import app, auth, handlers
    from werkzeug.wrappers import Response

    fields = _fields(handlers.HANDLERS)
    _refuse_repeated_keys(app)
    setattr(handlers, PARSED, _whole(getattr(handlers, PARSED)))

    def refuse(wrong: str) -> Any:
        raise MlflowException.invalid_parameter_value(wrong)

    def check() -> Any:
        from flask import request

        if request.url_rule is None or auth.is_unprotected_route(request.path):
            return None
        wrong = wrong_with(request, fields)
        if not wrong or isinstance(auth.authenticate_request(), Response):
            return None  # if the login is wrong, MLflow refuses the request itself
        return handlers.catch_mlflow_exception(refuse)(wrong)

    before = app.before_request_funcs[None]
    before.insert(before.index(auth._before_request), check)


def _whole(original: Callable[..., None]) -> Callable[..., None]:
    """Refuse a message that MLflow has read only in part."""
    from mlflow.exceptions import MlflowException

    @wraps(original)
    def validate(request_json: Any, schema: Any, proto_parsing_succeeded: bool | None) -> None:
        original(request_json, schema, proto_parsing_succeeded)  # in most cases, its error names the field
        if proto_parsing_succeeded is False:
            raise MlflowException.invalid_parameter_value(WRONG_TYPE)

    return validate


def _fields(messages: Iterable[Any]) -> dict[str, str]:
    """Return the names of request fields by their JSON names, if the two differ."""
    fields = (field for message in messages for field in message.DESCRIPTOR.fields)
    return {field.json_name: field.name for field in fields if field.json_name != field.name}


def _refuse_repeated_keys(app: Any) -> None:
    """Make Flask reject bodies with a repeated key as invalid JSON; Flask keeps the parsed body for later readers."""

    class WithoutRepeats(type(app.json)):  # type: ignore[misc]  # Flask is installed only for the server
        def loads(self, text: str | bytes, **options: Any) -> Any:
            return super().loads(text, **{"object_pairs_hook": without_repeats, **options})

    app.json = WithoutRepeats(app)
