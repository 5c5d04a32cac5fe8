"""The user's name on a cluster: on OpenShift from `oc` if it is installed, otherwise from the API."""

from __future__ import annotations

import shutil
from typing import Final

from deployer.core.errors import Forbidden, one_line
from deployer.core.spec.platform import OPENSHIFT
from deployer.kube.refusals import Call, Rejected, Unauthorized, Vanished
from deployer.kube.session import Session

_SECONDS: Final = 20
_REVIEWS: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
# messages of `oc` for a missing or expired token (openshift/oc, pkg/cli/whoami, and client-go)
_LOGGED_OUT: Final = ("Unauthorized", "must be logged in", "provide credentials")


def user_of(session: Session) -> str | None:
    """Return the name of the user, or None if the cluster does not tell it.

    Raises:
        Unauthorized: the login has expired; the hint says how to log in again.
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
    """Tell whether `oc login` seems to have written the context: its name has the form PROJECT/SERVER/USER."""
    return session.context.name.count("/") >= 2


def _logged_out(session: Session) -> Unauthorized:
    return Unauthorized(
        f"your login to {session.context.server} has ended (401)",
        hint=f"`oc login {session.context.server}` (with a token from its web console), then type the same command",
    )


def _as_oc_says(session: Session) -> str | None:
    import openshift_client  # noqa: PLC0415  # only if `oc` is installed

    try:
        with openshift_client.timeout(_SECONDS):
            # not through `options`: it converts values to lower case, and names of contexts have both cases
            return one_line(openshift_client.whoami([f"--context={session.context.name}"])) or None
    except OSError:
        return None  # for example, of another architecture
    except openshift_client.OpenShiftPythonException as error:
        said = error.result.err() if error.result else ""
        if any(words in said for words in _LOGGED_OUT):
            raise _logged_out(session) from None
        return None  # a broken `oc` does not stop the command: the API is asked instead


def _as_the_api_says(session: Session) -> str | None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    call = Call("create", "selfsubjectreviews", "", session.namespace)
    try:
        answer = session.request("POST", _REVIEWS, call, body=review)
    except Unauthorized:
        raise
    except (Rejected, Vanished, Forbidden):
        return None  # Kubernetes before 1.28 does not have this API
    user = ((answer.get("status") or {}).get("userInfo") or {}).get("username")
    return one_line(str(user)) if user else None
