"""Stop and delete: end a server, keep or drop what it knows."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from deployer.core.errors import Damaged, NoRoom, NotFound
from deployer.core.outcome import Done, Outcome, Waiting
from deployer.operations.steps import Progress, Step, run
from deployer.targets import Deadline, Observed, Target


def stop(target: Target, deadline: Deadline, progress: Progress) -> None:
    """End what runs; everything else stays. Nothing happens where nothing runs."""
    with target.store.lock("stop", deadline, lambda holder: progress.note(f"waiting for {holder}")):
        run((Step("stop", _stopped, _stop),), target, deadline, progress)


def delete(target: Target, *, data: bool, deadline: Deadline, progress: Progress) -> None:
    """End the server and drop it; its data and credentials too only with `data`.

    Goes on where a killed delete stopped, and so succeeds where nothing is left but the last step.

    Raises:
        NotFound: there is nothing of that name, not even of a half-done delete.
    """
    if not target.store.known():
        raise NotFound(f"there is no server {target.name!r} here", hint="`deployer list` shows what there is")
    with target.store.lock("delete", deadline, lambda holder: progress.note(f"waiting for {holder}")):
        if data:
            forget = Step("data", lambda _: _nothing_left(target), _forget_all)
        else:
            forget = Step("forget", _only_data_left, _forget)
        steps = (Step("remove", lambda _: _removed(target), _remove), forget)
        run(steps, target, deadline, progress, lambda: _observed(target) if data else target.observe())


def _observed(target: Target) -> Observed:
    """Return what is known of a server that goes with its data: damaged files must not keep it."""
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
        # killed from here on, it must not look like a server whose Secrets and volume somebody else has taken away
        with suppress(NoRoom):  # only of this machine, where `forget` takes everything away in one step
            target.store.save(replace(observed.record, deleted=True, proof=None, fingerprints={}))
    target.store.forget(data=True, deadline=deadline)
