"""Decides which process of pytest-xdist runs which test, and in what order."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

# the scopes that take minutes, the longest first; every other test is a separate scope
MACHINE, SERVERS, CLUSTER, SECOND_CLUSTER = "machine", "servers", "cluster", "second cluster"
LONG_SCOPES = (MACHINE, CLUSTER, SERVERS, SECOND_CLUSTER)
# the files of tests/local that start servers without `deployer create`: the system gives each server a port. `deployer
# create` chooses ports instead, and could choose the same port in two processes
OF_SERVERS = {
    f"test_{name}.py"
    for name in (
        "artifact_locations", "connections", "contract", "experiment_numbers", "fastauth", "gateway", "login_flood",
        "members", "named_files", "one_reading", "one_request", "origins", "owners", "page_guard", "permissions",
        "revocation", "search", "search_patterns", "slow_texts", "takeovers", "verify_fails",
    )
}  # fmt: skip
# the files of tests/cluster that run on a second cluster, in the first free process
ON_SECOND_CLUSTER = {
    f"test_{name}.py"
    for name in ("dry_run", "external", "plural", "rights", "route", "s3", "storage", "streams", "traced_life")
}


class Build(Protocol):
    """A build of the test cluster's programs and images in a separate process."""

    def running(self) -> bool: ...


class LongScopesFirst(LoadScopeScheduling):
    """One process for all tests that choose ports, one for other servers, one for each cluster, any for other tests.

    pytest-xdist would assign the scope with the most tests first. Here LONG_SCOPES sets the order. During the build of
    the cluster, which may take half an hour, a process gets single tests instead of waiting for the cluster.
    `_assign_work_unit` is a method of pytest-xdist, and the only place where it takes a scope from its queue.
    """

    def __init__(self, config: pytest.Config, log: Any, build_cluster: Callable[[], Build]) -> None:
        super().__init__(config, log)
        self._build_cluster = build_cluster
        self._build: Build | None = None
        self._ordered = False

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if not self._ordered:
            self._order()
        building = self._build is not None and self._build.running()
        self.workqueue.move_to_end(next_scope(self.workqueue, building=building), last=False)
        super()._assign_work_unit(node)

    def _order(self) -> None:
        self._ordered = True
        for scope in reversed(LONG_SCOPES):
            if scope in self.workqueue:
                self.workqueue.move_to_end(scope, last=False)
        if {CLUSTER, SECOND_CLUSTER} & self.workqueue.keys() and not _kind():
            self._build = self._build_cluster()


def scope_of(nodeid: str) -> str:
    """Return the scope of a test; the tests of one scope run in one process, in the order of their files."""
    _, folder, file, *_ = re.split("/|::", nodeid)
    if folder == "cluster":
        return SECOND_CLUSTER if file in ON_SECOND_CLUSTER and not _kind() else CLUSTER
    if folder == "local" and file in OF_SERVERS:
        return SERVERS
    return MACHINE if folder in {"local", "soak"} else nodeid


def next_scope(queue: Iterable[str], *, building: bool) -> str:
    """Return the next scope for a process: the first one that need not wait for the cluster, if there is one."""
    waiting = {CLUSTER, SECOND_CLUSTER} if building else set()
    return next((scope for scope in queue if scope not in waiting), next(iter(queue)))


def _kind() -> bool:
    """Tell whether the tests use kind: then there is only one cluster, and it runs already."""
    return os.environ.get("CLUSTER") == "kind"
