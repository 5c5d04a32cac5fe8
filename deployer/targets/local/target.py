"""Builds the local target of a server from the parts that implement its interfaces."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from deployer.core.remedies import Hint
from deployer.targets import Capabilities, Target
from deployer.targets.local.access import LocalAccess
from deployer.targets.local.installation import LocalInstallation
from deployer.targets.local.other_machine import OtherMachine
from deployer.targets.local.placement import LocalPlacement
from deployer.targets.local.runtime import LocalRuntime
from deployer.targets.local.store import LocalStore, state_directory

CAPABILITIES: Final = Capabilities(
    exposes=False, pins_images=False, shares_network=True, shared_by_machines=True, stored_here=True
)


def local_target(
    name: str,
    waiting: Callable[[str], None],
    note: Callable[[str, Hint], None] = lambda *_: None,
    *,
    take_over: bool = False,
    dry_run: bool = False,
) -> Target:
    """Return the local target for server `name`; `waiting` is called when another deployer holds a lock.

    `note` receives messages about what the machine has assigned to the server, each with what the user can do.
    `take_over` is the user's statement that the other machine, on which the server is recorded, is gone. With
    `dry_run`, the state directory is not created.
    """
    state = state_directory(make=not dry_run)
    store = LocalStore(state, name)
    other_machine = OtherMachine(store, take_over=take_over)
    runtime = LocalRuntime(state, store, other_machine)
    return Target(
        name=name,
        kind="local",
        where="this machine",
        namespace=None,
        context=None,
        capabilities=CAPABILITIES,
        store=store,
        placement=LocalPlacement(state, store, runtime, other_machine, waiting, note),
        installation=LocalInstallation(state, waiting),
        runtime=runtime,
        access=LocalAccess(),
    )
