"""Translates an API server's refusals: each Status becomes one error with what, where, why and what to type next."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from deployer.core.errors import Conflict, DeployerError, Forbidden, NotFound, StateError, one_line
from deployer.core.remedies import Remedy

# server-side apply answers with status 500 if a manifest does not fit its schema (kubernetes/kubernetes#139253)
_MISTYPED: Final = "failed to create typed patch object"
_PAIR: Final = re.compile(r'cannot (\S+) resource "([^"]+)" in API group "([^"]*)"')


class ClusterUnreachable(DeployerError):
    """The API server does not answer or cannot answer now, or something else answers in its place."""


class Unauthorized(Forbidden):
    """The API server does not accept the credentials: they are missing, wrong or expired."""


class QuotaExceeded(Forbidden):
    """The quota of the namespace has no room for the request."""


class Rejected(StateError):
    """The API server, or an admission controller, does not accept an object."""


class UnknownApi(Rejected):
    """The cluster does not have this kind of object."""


class FieldsOwned(Conflict):
    """Other field managers own fields that an apply would change; `managers` holds their names."""

    def __init__(self, message: str, managers: frozenset[str]) -> None:
        super().__init__(message, hint=Remedy.OVERWRITE_FIELDS)
        self.managers = managers


class Vanished(NotFound):
    """The requested object does not exist, or no longer exists."""


@dataclass(frozen=True)
class Call:
    """One call, as messages name it: `patch deployments.apps "mlflow"` in a namespace."""

    verb: str
    resource: str
    name: str
    namespace: str

    def __str__(self) -> str:
        what = f"{self.verb} {self.resource}"
        return f"{what} {self.name!r} in namespace {self.namespace!r}" if self.name else f"{what} in {self.namespace!r}"


def status_of(body: bytes) -> dict[str, Any]:
    """Return the Status object in a body, or an empty dict. A body without a Status is never shown."""
    try:
        data = json.loads(body)
    except ValueError:
        return {}
    if not isinstance(data, dict) or data.get("kind") != "Status":
        return {}
    details = data.get("details")
    return {**data, "message": data.get("message") or "", "details": details if isinstance(details, dict) else {}}


def refusal(code: int, body: bytes, call: Call) -> DeployerError:
    """Return the error for a response with a status of 300 or more."""
    status = status_of(body)
    message = one_line(str(status.get("message", ""))).strip()
    reason = status.get("reason", "")
    if code == 401:
        return _unauthorized()
    if code == 403:
        return _forbidden(message, call)
    if code == 404 and status and status["details"].get("kind") == "namespaces":
        return missing_namespace(call.namespace)
    if code == 404 and body.strip() == b"404 page not found":  # the API server's own response for an unknown path
        return UnknownApi(
            f"the cluster does not know {call.resource}: that API is not installed on it",
            hint=Remedy.CHOOSE_EXPOSURE,
        )
    if code == 404 and status:
        return Vanished(f"cannot {call}: {message or 'the cluster does not know this kind of object'}")
    if code == 409 and status and reason == "Conflict" and _owners(status):
        return FieldsOwned(f"cannot {call}: {_owners(status)}", _managers(status))
    if code == 409:
        return Conflict(f"cannot {call}: {message}", hint="try again")
    if code in (400, 405, 415, 422):
        hint = _invalid_hint(message) if code == 422 else None
        return Rejected(f"the cluster rejects the object: cannot {call}: {message or f'HTTP {code}'}", hint=hint)
    if is_final(code, body):
        return Rejected(
            f"the cluster rejects the object: cannot {call}: {message}",
            hint="a patch in the spec names a field that does not exist, or gives it a value of another type",
        )
    return ClusterUnreachable(
        f"the cluster cannot answer now: {call}: {message or f'HTTP {code}'}", hint="try again later"
    )


def _invalid_hint(message: str) -> str | Remedy:
    """Return what to do about an object that fails validation, by the field that its Status names."""
    if "spec.host" not in message:
        return "the message names the field: a value of the spec, or a patch in it, sets what the cluster does not take"
    if "permission" in message:
        return Remedy.LEAVE_HOST_OUT
    return Remedy.CHOOSE_HOST


def is_final(code: int, body: bytes) -> bool:
    """Tell whether a response that looks like a temporary failure says that the object itself is wrong."""
    return code == 500 and _MISTYPED in str(status_of(body).get("message", ""))


def _unauthorized() -> Unauthorized:
    return Unauthorized(
        "the cluster does not accept your credentials (401): they are wrong or have expired",
        hint="log in again (on OpenShift: `oc login`), then type the same command: it continues from here",
    )


def missing_namespace(namespace: str) -> Vanished:
    """Return the error for a namespace that does not exist."""
    return Vanished(
        f"there is no namespace {namespace!r}, or it is not yours to see",
        hint=Remedy.MAKE_NAMESPACE,
    )


def _forbidden(message: str, call: Call) -> DeployerError:
    if "exceeded quota" in message:
        return QuotaExceeded(
            f"the quota of namespace {call.namespace!r} has no room: {message}",
            hint="remove something else, ask for a larger quota, or lower the sizes in the spec",
        )
    if "is being terminated" in message or "because it is being terminated" in message:
        return Conflict(f"namespace {call.namespace!r} is being deleted", hint=Remedy.WAIT_FOR_NAMESPACE)
    if 'User "system:anonymous"' in message:
        return _unauthorized()
    pair = _PAIR.search(message)
    # for a tunnel without the right to create it, Kubernetes 1.35 writes nothing after the colon
    if pair or not message or message.endswith("is forbidden:"):
        # applying an object that does not exist also needs `create`; the message names the missing right
        verb, resource = call.verb, call.resource
        if pair:
            verb, resource = pair[1], f"{pair[2]}.{pair[3]}" if pair[3] else pair[2]
        return forbidden(verb, resource, call.namespace)
    # the message of an admission controller, such as PodSecurity or a LimitRange
    return Rejected(f"the cluster does not allow it: cannot {call}: {message}")


def forbidden(verb: str, resource: str, namespace: str) -> Forbidden:
    """Return the error for a right that the user lacks; `resource` is as `kubectl auth can-i` takes it."""
    return Forbidden(
        f"you may not {verb} {resource} in namespace {namespace!r}",
        hint=Remedy.ASK_FOR_ROLE,
    )


def _owners(status: dict[str, Any]) -> str:
    """Return the owner of each field, from the causes of a server-side apply conflict."""
    owned = [f"{field} belongs to {owner}" for field, owner in _owned(status)]
    return one_line("; ".join(owned))


def _managers(status: dict[str, Any]) -> frozenset[str]:
    return frozenset(owner.removeprefix('"').partition('"')[0] for _, owner in _owned(status))


def _owned(status: dict[str, Any]) -> list[tuple[str, str]]:
    """Return each field and its owner in the API server's words: the quoted name, and how it was set."""
    return [
        (str(cause.get("field", "")), str(cause.get("message", "")).removeprefix("conflict with "))
        for cause in status["details"].get("causes") or []
        if isinstance(cause, dict) and cause.get("reason") == "FieldManagerConflict"
    ]
