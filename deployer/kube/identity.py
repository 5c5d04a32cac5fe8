"""Who one is to a cluster: as `oc` says where it is installed and the cluster is its kind, else as the API says."""

from __future__ import annotations

import shutil
from typing import Final

from deployer.core.errors import Forbidden, one_line
from deployer.core.platform import OPENSHIFT
from deployer.kube.refusals import Call, Rejected, Unauthorized, Vanished
from deployer.kube.session import Session

_SECONDS: Final = 20
_REVIEWS: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
# how `oc` says that a token is missing or has ended (openshift/oc, pkg/cli/whoami, and client-go's own words)
_LOGGED_OUT: Final = ("Unauthorized", "must be logged in", "provide credentials")


def user_of(session: Session) -> str | None:
    """Return the user's name, None where the cluster does not tell.

    Raises:
        Unauthorized: the login has ended; says how to log in again.
    """
    try:
        if not session.context.in_cluster and OPENSHIFT.api_group in session.api_groups():
            return (_as_oc_says(session) if shutil.which("oc") else None) or _as_the_api_says(session)
        return _as_the_api_says(session)
    except Unauthorized as error:
        if not _by_oc_login(session):
            raise
        raise _logged_out(session) from error


def _by_oc_login(session: Session) -> bool:
    """Tell whether the context looks like one that `oc login` has written: PROJECT/SERVER/USER."""
    return session.context.name.count("/") >= 2


def _logged_out(session: Session) -> Unauthorized:
    return Unauthorized(
        f"your login to {session.context.server} has ended (401)",
        hint=f"`oc login {session.context.server}` (with a token from its web console), then type the same command",
    )


def _as_oc_says(session: Session) -> str | None:
    import openshift_client  # noqa: PLC0415  # only where `oc` is

    try:
        with openshift_client.timeout(_SECONDS):
            # not by `options`: those are turned into lower case, and names of contexts have both
            return one_line(openshift_client.whoami([f"--context={session.context.name}"])) or None
    except OSError:
        return None  # of another architecture, perhaps
    except openshift_client.OpenShiftPythonException as error:
        said = error.result.err() if error.result else ""
        if any(words in said for words in _LOGGED_OUT):
            raise _logged_out(session) from None
        return None  # an `oc` that does not work is no reason to stop: the API is asked


def _as_the_api_says(session: Session) -> str | None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    call = Call("create", "selfsubjectreviews", "", session.namespace)
    try:
        answer = session.request("POST", _REVIEWS, call, body=review)
    except Unauthorized:
        raise
    except (Rejected, Vanished, Forbidden):
        return None  # Kubernetes before 1.28 has none
    user = ((answer.get("status") or {}).get("userInfo") or {}).get("username")
    return one_line(str(user)) if user else None
