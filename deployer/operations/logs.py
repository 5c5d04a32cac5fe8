"""Logs: the lines that a workload of a server has written."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.core.errors import UsageError
from deployer.core.remedies import Remedy
from deployer.core.stack.model import SERVER
from deployer.operations.records import require_record
from deployer.targets import Target


def logs(target: Target, workload: str, tail: int, *, follow: bool) -> Iterator[str]:
    """Return the last `tail` lines of a workload's log; with `follow`, also new lines until interrupted.

    Raises:
        NotFound: the server does not exist.
        UsageError: the server has no such workload; the message lists the workloads that exist.
    """
    record = require_record(target)
    if workload != SERVER:
        names = [found.name for found in target.stack(record.spec, record.assigned).workloads] or [SERVER]
        if workload not in names:
            raise UsageError(
                f"server {target.name!r} has no workload {workload!r}; it has {', '.join(names)}",
                hint=Remedy.SEE_LOG_OF_WORKLOAD.of(server=target.ref, workload=names[0]),
            )
    return target.runtime.logs(workload, tail, follow=follow)
