"""Stop and delete: end a server, and keep or delete its data and credentials."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Final

from deployer.core.errors import Damaged, NoRoom, NotFound
from deployer.core.outcome import Done, Outcome, Waiting
from deployer.core.remedies import Remedy
from deployer.operations.steps import Progress, Step, run
from deployer.targets import Deadline, Observed, Target


def stop(target: Target, deadline: Deadline, progress: Progress) -> None:
    """Stop the server's processes or pods; keep everything else. Do nothing if the server is stopped."""
    with target.store.lock("stop", deadline, lambda holder: progress.note(f"waiting for {holder}")):
        run(STOP_STEPS, target, deadline, progress)


def delete(target: Target, *, data: bool, deadline: Deadline, progress: Progress) -> None:
    """Delete the server; delete its data and credentials only with `data`.

    A repeated call continues an interrupted delete.

    Raises:
        NotFound: nothing of that name exists, not even the remains of an interrupted delete.
    """
    require_known(target)
    with target.store.lock("delete", deadline, lambda holder: progress.note(f"waiting for {holder}")):
        steps = delete_steps(target, data=data)
        run(steps, target, deadline, progress, lambda: observe_for_delete(target, data=data))


def require_known(target: Target) -> None:
    """Check that anything of the server exists.

    Raises:
        NotFound: nothing of that name exists, not even the remains of an interrupted delete.
    """
    if not target.store.known():
        raise NotFound(f"there is no server {target.name!r} here", hint=Remedy.LIST_SERVERS)


def delete_steps(target: Target, *, data: bool) -> tuple[Step, ...]:
    """Return the steps of a delete in order."""
    if data:
        forget = Step("data", lambda _: _nothing_left(target), _forget_all)
    else:
        forget = Step("forget", _only_data_left, _forget)
    return Step("remove", lambda _: _removed(target), _remove), forget


def observe_for_delete(target: Target, *, data: bool) -> Observed:
    """Return the server's state; a damaged record must not prevent a delete with data."""
    if not data:
        return target.observe()
    record = None
    with suppress(Damaged):
        record = target.store.load()
    return Observed(record, None, target.runtime.observe(), ready=False)


def _stopped(observed: Observed) -> Outcome:
    if observed.live.state == "stopped":
        return Done("nothing runs")
    return Waiting(f"the server is {observed.live.state}")


def _stop(target: Target, _: Observed, deadline: Deadline) -> None:
    target.runtime.stop(deadline)


def _removed(target: Target) -> Outcome:
    remains = target.runtime.remains()
    return Waiting(f"there is still {', '.join(remains)}") if remains else Done("nothing runs")


def _remove(target: Target, _: Observed, deadline: Deadline) -> None:
    target.runtime.remove(deadline)


def _only_data_left(observed: Observed) -> Outcome:
    if observed.record and not observed.record.deleted:
        return Waiting("the server is still on record")
    return Done("data and credentials are kept")


def _forget(target: Target, observed: Observed, deadline: Deadline) -> None:
    target.store.forget(data=False, deadline=deadline)
    if observed.record:
        target.store.save(replace(observed.record, deleted=True, proof=None))


def _nothing_left(target: Target) -> Outcome:
    if target.store.known():
        return Waiting("data and credentials are still there")
    return Done("nothing is left")


def _forget_all(target: Target, observed: Observed, deadline: Deadline) -> None:
    if observed.record and observed.record.fingerprints:
        # without fingerprints, a delete that is killed after this point does not look like a server that has
        # lost its Secrets and volume
        with suppress(NoRoom):  # raised only on this machine, where `forget` removes everything in one step
            target.store.save(replace(observed.record, deleted=True, proof=None, fingerprints={}))
    target.store.forget(data=True, deadline=deadline)


STOP_STEPS: Final = (Step("stop", _stopped, _stop),)
