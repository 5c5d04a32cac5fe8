"""The three seams of one server on a cluster, put together."""

from __future__ import annotations

from collections.abc import Callable

from deployer.kube.session import Session
from deployer.targets import Target
from deployer.targets.kubernetes.access import KubernetesAccess
from deployer.targets.kubernetes.runtime import KubernetesRuntime
from deployer.targets.kubernetes.store import KubernetesStore


def kubernetes_target(
    session: Session, name: str, note: Callable[[str], None], *, take_over: bool = False, user: str | None = None
) -> Target:
    """Return the target for server `name` in the session's namespace; `note` is told what a person should know.

    `take_over` lets it change objects and fields that belong to somebody else. `user` is who one is, if known.
    """
    store = KubernetesStore(session, name)
    runtime = KubernetesRuntime(session, store, name, note, take_over=take_over)
    access = KubernetesAccess(session, runtime, name, note)
    context = session.context
    where = f"namespace {context.namespace} of {context.server}" + (f", as {user}" if user else "")
    options = ("--namespace", context.namespace, *(() if context.in_cluster else ("--context", context.name)))
    return Target(name, "kubernetes", where, options, context.namespace, store, runtime, access)
