"""Finds the workloads in a server's inventory, and the order in which they start and stop; sends no request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from deployer.core.manifest import DEPLOYMENT, HTTP_ROUTE, INGRESS, ROUTE, SERVICE, STATEFUL_SET, Ref
from deployer.core.stack import SERVER, Stack

WORKLOAD_KINDS: Final = (DEPLOYMENT.name, STATEFUL_SET.name)
_ADDRESS_KINDS: Final = (INGRESS.name, HTTP_ROUTE.name, ROUTE.name)


@dataclass(frozen=True)
class ListedWorkload:
    """A workload in an inventory: its name in the Stack, and its object."""

    name: str
    ref: Ref


def workloads_of(stack: Stack) -> tuple[ListedWorkload, ...]:
    """Return the workloads of a Stack in start order, as the inventory lists them."""
    return tuple(
        ListedWorkload(workload.name, Ref(workload.kind, stack.object_name(workload.name)))
        for workload in stack.start_order
    )


def listed_workloads(server: str, refs: Iterable[Ref]) -> tuple[ListedWorkload, ...]:
    """Return the workloads among the objects of a server.

    `Stack.object_name` names these objects: `SERVER` is the workload `server`, `SERVER-WORKLOAD` any other.
    """
    return tuple(
        ListedWorkload(ref.name[len(server) + 1 :] or SERVER, ref)
        for ref in refs
        if ref.kind in WORKLOAD_KINDS and (ref.name == server or ref.name.startswith(f"{server}-"))
    )


def in_start_order(workloads: Sequence[ListedWorkload], stack: Stack | None) -> tuple[ListedWorkload, ...]:
    """Sort workloads in the order in which they start: each after the workloads that it needs.

    A workload that the Stack does not have comes last, because no workload of the Stack needs it. Without a Stack, the
    server comes last. Workloads stop in the reverse order.
    """
    order = {workload.name: number for number, workload in enumerate(stack.start_order if stack else ())}
    return tuple(sorted(workloads, key=lambda one: (order.get(one.name, len(order)), one.name == SERVER, one.ref)))


def removals(refs: Iterable[Ref], workloads: Sequence[ListedWorkload]) -> Iterator[tuple[tuple[Ref, ...], str | None]]:
    """Yield objects to delete at once, and the workload whose pods must end before the next ones are deleted.

    `workloads` are in start order. The public addresses come first. A workload keeps its Service until all workloads
    that may use the Service have ended. The rest, such as NetworkPolicies, comes last, without a workload.
    """
    left = list(refs)
    for number in reversed(range(len(workloads))):
        used = {one.ref.name for one in workloads[:number]} - {workloads[number].ref.name}
        group = tuple(
            ref
            for ref in left
            if ref.kind in _ADDRESS_KINDS or (ref.kind in (SERVICE.name, *WORKLOAD_KINDS) and ref.name not in used)
        )
        left = [ref for ref in left if ref not in group]
        yield group, workloads[number].name
    yield tuple(left), None
