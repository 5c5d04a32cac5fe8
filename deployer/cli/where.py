"""Chooses the target of a command and prints it: a cluster if a kubeconfig names one, else this machine."""

from __future__ import annotations

import re
from typing import Final

from deployer.cli.options import TargetKind
from deployer.cli.progress import note
from deployer.cli.remedies import words
from deployer.core.errors import UsageError, one_line
from deployer.core.secrets.logins import username_problem
from deployer.core.spec.fields import name_problem
from deployer.kube.contexts import in_a_pod, read_contexts
from deployer.targets import Target
from deployer.targets.local.store import LocalStore, state_directory
from deployer.targets.local.target import local_target

_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def find_target(
    name: str,
    wanted: TargetKind | None,
    namespace: str | None = None,
    context: str | None = None,
    *,
    quiet: bool = False,
    take_over: bool = False,
    force_conflicts: bool = False,
    introduce: bool = False,
    project: str | None = None,
    dry_run: bool = False,
) -> Target:
    """Return the target of server `name`; first print the target and the reason on standard error.

    `take_over` is the user's statement that the server's other machine is gone. On a cluster, it counts as
    `force_conflicts`, which allows changes to objects and fields of others. `introduce` asks the cluster for the
    current user, and prints it too. `project` is the description of an OpenShift project to create; None creates none.
    With `dry_run`, neither a project nor the state directory is created.

    Raises:
        UsageError: the name is not valid, or there is no such target.
    """
    if problem := name_problem(name):
        raise UsageError(f"{name!r} cannot be a server's name: it {problem}", hint="try a name such as mlflow")
    cluster, why = _choose(name, wanted, namespace, context, dry_run=dry_run)
    if cluster:
        made = None if dry_run else project
        force = force_conflicts or take_over
        target = cluster_target(name, namespace, context, force_conflicts=force, introduce=introduce, project=made)
    elif project is not None:
        raise UsageError("--create-project needs an OpenShift cluster, and this is this machine", hint="leave it out")
    elif force_conflicts:
        raise UsageError(
            "--force-conflicts needs a cluster, and this server runs on this machine",
            hint="leave it out, or add --target kubernetes",
        )
    else:
        target = local_target(
            name,
            lambda holder: note(f"waiting for {holder}"),
            lambda text, hint: note(f"{text} ({words(hint)})"),
            take_over=take_over,
            dry_run=dry_run,
        )
    if not quiet:
        note(f"Target: {target.where} ({why})")
    return target


def _choose(
    name: str, wanted: TargetKind | None, namespace: str | None, context: str | None, *, dry_run: bool
) -> tuple[bool, str]:
    """Return True for a cluster, False for this machine; and the reason."""
    require_namespace(namespace)
    require_one_place(wanted, namespace, context)
    if wanted is TargetKind.local:
        return False, "as --target says"
    if wanted is TargetKind.kubernetes:
        return True, "as --target says"
    if namespace is not None or context is not None:
        return True, "as --namespace or --context says"
    if LocalStore(state_directory(make=not dry_run), name).known():
        return False, f"{name!r} is known here"
    if current := read_contexts().current:
        return True, f"the kubeconfig's current context is {current!r}"
    if in_a_pod():
        return True, "this is a pod of it"
    return False, "no kubeconfig names a current context"


def require_namespace(namespace: str | None) -> None:
    """Check that --namespace can be the name of a namespace.

    Raises:
        UsageError: it cannot.
    """
    if namespace is not None and not _NAMESPACE.fullmatch(namespace):
        raise UsageError(
            f"--namespace {one_line(namespace) or repr(namespace)} cannot be a namespace",
            hint="it has lower-case letters, digits and '-', at most 63",
        )


def require_user(user: str | None) -> None:
    """Check that --user can be a user name.

    Raises:
        UsageError: it cannot.
    """
    if user is not None and (problem := username_problem(user)):
        raise UsageError(f"--user {one_line(user) or repr(user)}: {problem}", hint="give the name of a user")


def require_one_place(wanted: TargetKind | None, namespace: str | None, context: str | None) -> None:
    """Check that --target local has no options of clusters beside it.

    Raises:
        UsageError: such an option was given.
    """
    if wanted is not TargetKind.local:
        return
    for option, value in (("--namespace", namespace), ("--context", context)):
        if value is not None:
            raise UsageError(
                f"{option} {one_line(value)} needs a cluster, and --target local is this machine",
                hint="leave one of the two out",
            )


def project_is_there(namespace: str | None, context: str | None) -> bool:
    """Tell whether an OpenShift project of the user has this name."""
    from deployer.kube.projects import project_exists
    from deployer.kube.session import connect

    return project_exists(connect(context, namespace))


def cluster_target(
    name: str,
    namespace: str | None,
    context: str | None,
    *,
    force_conflicts: bool = False,
    introduce: bool = False,
    project: str | None = None,
) -> Target:
    """Return the target of server `name` on a cluster."""
    from deployer.kube.identity import user_of
    from deployer.kube.projects import request_project
    from deployer.kube.session import connect
    from deployer.targets.kubernetes.target import kubernetes_target

    session = connect(context, namespace)
    user = user_of(session) if introduce else None
    if project is not None:
        request_project(session, project, note)
    return kubernetes_target(session, name, note, take_over=force_conflicts, user=user)
