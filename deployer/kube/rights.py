"""Asks whether the user may do something in the session's namespace. Nothing is written (SelfSubjectAccessReview)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from deployer.core.errors import Forbidden
from deployer.core.manifest import Kind
from deployer.kube.refusals import Call, Rejected, Unauthorized, Vanished, forbidden
from deployer.kube.session import Session

_REVIEWS: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def require(session: Session, actions: Iterable[tuple[str, Kind, str]]) -> None:
    """Check each action: a verb, a kind and a subresource (empty for the object itself).

    Do nothing if the cluster does not answer such questions.

    Raises:
        Forbidden: the user may not do it; the message names the first such action.
    """
    for verb, kind, subresource in actions:
        if not _allowed(session, verb, kind, subresource):
            resource = f"{kind.resource}/{subresource}" if subresource else kind.resource
            raise forbidden(verb, resource, session.namespace)


def _allowed(session: Session, verb: str, kind: Kind, subresource: str) -> bool:
    attributes = {
        "namespace": session.namespace,
        "verb": verb,
        "group": kind.group,
        "resource": kind.plural,
        "subresource": subresource,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    call = Call("create", "selfsubjectaccessreviews", "", session.namespace)
    try:
        answer = session.request("POST", _REVIEWS, call, body=review)
    except Unauthorized:
        raise
    except (Forbidden, Rejected, Vanished):
        return True  # the operation itself will tell
    return bool((answer.get("status") or {}).get("allowed"))
