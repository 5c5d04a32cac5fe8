"""deployer list: all servers of this user on this machine, and those in the namespace of the current cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from deployer.cli.options import Context, Format, Namespace, Output, TargetKind, TargetOption
from deployer.cli.progress import note
from deployer.core.errors import DeployerError, NotFound, StateError

if TYPE_CHECKING:
    from deployer.operations.status import View
    from deployer.targets import Target


def command(
    target: TargetOption = None, namespace: Namespace = None, context: Context = None, form: Output = Format.text
) -> None:
    """List all servers, also those whose data alone is kept."""
    from deployer.cli.where import require_namespace, require_one_place
    from deployer.kube.contexts import in_a_pod, read_contexts
    from deployer.targets.local.store import server_names, state_directory
    from deployer.targets.local.target import local_target

    views: list[View] = []
    require_namespace(namespace)
    require_one_place(target, namespace, context)
    cluster_asked = target is TargetKind.kubernetes or namespace is not None or context is not None
    if not cluster_asked:
        for name in server_names(state_directory()):
            views += _status_of(name, lambda name: local_target(name, lambda _: None))
    if cluster_asked or (target is None and (read_contexts().current or in_a_pod())):
        try:
            views += _on_cluster(namespace, context)
        except DeployerError:
            if views:
                _print(views, form)  # local servers are shown even if the cluster fails
            raise
    _print(views, form)


def _print(views: Sequence[View], form: Format) -> None:
    from deployer.cli import output

    if form is Format.json:
        output.print_json([view.document() for view in views])
    elif not views:
        print("No servers yet. `deployer create` makes one.")
    else:
        rows = [(v.name, v.target, v.namespace or "-", v.state, v.address or "-", v.version) for v in views]
        for view in views:
            if view.state == "elsewhere":
                note(f"Server {view.name!r} is on another machine: {view.detail}")
        output.print_table(("name", "target", "namespace", "state", "address", "mlflow"), rows)


def _on_cluster(namespace: str | None, context: str | None) -> list[View]:
    from deployer.kube.session import connect
    from deployer.targets.kubernetes import store
    from deployer.targets.kubernetes.target import kubernetes_target

    session = connect(context, namespace)
    return [
        view
        for name in store.server_names(session)
        for view in _status_of(name, lambda name: kubernetes_target(session, name, lambda _: None))
    ]


def _status_of(name: str, target_of: Callable[[str], Target]) -> Iterator[View]:
    from deployer.operations.status import View, status

    target = target_of(name)
    try:
        yield status(target)
    except NotFound:
        return  # deleted since the names were read
    except StateError as error:  # one damaged server must not hide the others
        yield View(name, target.kind, target.namespace, "damaged", error.message, None, None, "-", proven=False)
