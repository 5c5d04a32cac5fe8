"""OpenShift projects: namespaces that ordinary users request (project.openshift.io/v1 ProjectRequest)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from deployer.core.errors import Conflict, Forbidden, NotReady
from deployer.core.manifests.manifest import CONFIG_MAP
from deployer.core.remedies import Remedy
from deployer.kube import objects
from deployer.kube.refusals import Call, Rejected, UnknownApi, Vanished
from deployer.kube.session import Session

_GROUP: Final = "/apis/project.openshift.io/v1"
_SETTLING_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.5


def request_project(session: Session, description: str, note: Callable[[str], None]) -> None:
    """Create the session's namespace as a project of the user, and return when the user has rights in it.

    If the user already has the project, only wait for the rights. So a killed command can be repeated.

    Raises:
        Conflict: the project belongs to somebody else, or the cluster has no projects.
        Forbidden: the cluster does not let this user create projects; the message is the cluster's own.
        Rejected: the cluster does not accept the request, for example without a CSC project.
        NotReady: the project gives no rights within 30 seconds.
    """
    name = session.namespace
    wanted = {
        "apiVersion": "project.openshift.io/v1",
        "kind": "ProjectRequest",
        "metadata": {"name": name},
        "displayName": name,
        "description": description,
    }
    try:
        session.request("POST", f"{_GROUP}/projectrequests", Call("create", "projectrequests", name, name), body=wanted)
        note(f"Made project {name!r} ({description})" if description else f"Made project {name!r}")
    except Conflict:
        if not _is_ours(session):
            raise Conflict(
                f"there is a project {name!r} already, and it is somebody else's: names are global",
                hint=Remedy.CHOOSE_NAMESPACE,
            ) from None
        note(f"Project {name!r} is there already, and yours")
    except UnknownApi:
        raise _no_projects(name) from None
    except Rejected as error:
        if description:
            raise
        raise Rejected(error.message, hint=Remedy.NAME_CSC_PROJECT) from None
    _await_rights(session)


def project_exists(session: Session) -> bool:
    """Tell whether the session's namespace is a project of the user. Changes nothing.

    Raises:
        Conflict: the cluster has no projects.
    """
    try:
        return _is_ours(session)
    except UnknownApi:
        raise _no_projects(session.namespace) from None


def _no_projects(name: str) -> Conflict:
    return Conflict(
        "this cluster has no projects: it is not OpenShift", hint=f"`kubectl create namespace {name}`, where you may"
    )


def _is_ours(session: Session) -> bool:
    try:
        session.request("GET", f"{_GROUP}/projects/{session.namespace}", Call("get", "projects", session.namespace, ""))
    except (Forbidden, Vanished):
        return False
    return True


def _await_rights(session: Session) -> None:
    """Return when the role in the new project is in force; controllers grant it a moment later."""
    over = time.monotonic() + _SETTLING_SECONDS
    while True:
        try:
            objects.listed(session, CONFIG_MAP)
        except (Forbidden, Vanished):
            if time.monotonic() > over:
                raise NotReady(
                    f"project {session.namespace!r} is made, but gives you no rights yet", hint="try again in a minute"
                ) from None
            time.sleep(_POLL_SECONDS)
        else:
            return
