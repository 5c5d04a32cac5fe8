"""Builds the target of a server on a cluster from its interfaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from deployer.kube.session import Session
from deployer.targets import Capabilities, Live, Target
from deployer.targets.kubernetes.access import KubernetesAccess
from deployer.targets.kubernetes.own_objects import OwnObjects
from deployer.targets.kubernetes.placement import KubernetesPlacement
from deployer.targets.kubernetes.runtime import KubernetesRuntime
from deployer.targets.kubernetes.store import KubernetesStore

CAPABILITIES: Final = Capabilities(
    exposes=True, pins_images=True, shares_network=False, shared_by_machines=False, stored_here=False
)


def kubernetes_target(
    session: Session, name: str, note: Callable[[str], None], *, take_over: bool = False, user: str | None = None
) -> Target:
    """Return the target for server `name` in the session's namespace; `note` receives messages for the user.

    `take_over` allows changes to objects and fields that belong to others. `user` is the name of the current user, if
    known.
    """
    store = KubernetesStore(session, name)
    own = OwnObjects(session, name, take_over=take_over)
    runtime = KubernetesRuntime(session, store, own, name, note, take_over=take_over)
    placement = KubernetesPlacement(
        session, store, own, name, note, lambda stack: runtime.pending(stack, Live("stopped"))
    )
    access = KubernetesAccess(session, runtime, own, name, note)
    context = session.context
    where = f"namespace {context.namespace} of {context.server}" + (f", as {user}" if user else "")
    return Target(
        name=name,
        kind="kubernetes",
        where=where,
        namespace=context.namespace,
        context=None if context.in_cluster else context.name,
        capabilities=CAPABILITIES,
        store=store,
        placement=placement,
        installation=runtime,
        runtime=runtime,
        access=access,
    )
