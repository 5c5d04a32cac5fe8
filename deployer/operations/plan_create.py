"""The plans of `create`, `start` and `rotate-keys`: which steps they would run, and what would change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from deployer.core.manifests.changes import Change, spec_changes
from deployer.core.outcome import Done, Outcome, Waiting
from deployer.core.secrets.databases import DATABASES
from deployer.core.secrets.references import SecretRef
from deployer.core.secrets.values import Secrets, keys_fingerprint
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import build, server
from deployer.core.stack.record import Record
from deployer.operations.artifacts import untried_other_keys
from deployer.operations.create import require_possible
from deployer.operations.create_steps import OTHER_SETTINGS, Creation
from deployer.operations.databases import try_from_here
from deployer.operations.plan import Plan, Planned, planned, remarks
from deployer.operations.records import require_record
from deployer.operations.rotate_keys import require_bucket, require_credentials
from deployer.operations.steps import Step
from deployer.targets import Live, Observed, Target

_NOTHING: Final = Observed(None, None, Live("stopped", "there is nothing yet"), ready=False)
_NO_KEYS: Final[Mapping[SecretRef, str]] = MappingProxyType({})
_AFTER_START: Final = ("ready", "verify")


def plan_create(
    target: Target,
    spec: Spec,
    before: Record | None,
    password: str | None,
    provided: Mapping[SecretRef, str] = _NO_KEYS,
) -> Plan:
    """Return what `create` with the same arguments would do.

    S3 keys are not tried, because a trial writes. New URLs of a proven server are not tried, because its own Python
    would have to run. `before` may differ from the stored record in values that an earlier step would change.

    Raises:
        DeployerError: an error that `create` raises before its first write.
    """
    require_possible(target, spec, before, password, provided)
    if before is None or not before.fingerprints:
        try_from_here(target, provided)
    steps = Creation(target, spec, password, provided).steps()
    observed = replace(target.observe(), record=before)
    expected = _with_record(target, spec, observed, provided)
    changes = _changes_of_objects(target, spec, expected)
    outcomes = dict(_outcomes(steps, observed, expected, changes))
    if any(isinstance(outcome, Waiting) for outcome in outcomes.values()):
        target.store.require_rights("create" if before is None else "rotate" if provided else "update")
        _check(target, spec, before, observed.live)
    return Plan(
        tuple(planned(step, outcomes[step.name]) for step in steps),
        (*(spec_changes(before.spec, spec) if before else ()), *_changes_of_urls(observed.secrets, provided), *changes),
        remarks(target),
    )


def plan_unasked(target: Target, spec: Spec) -> tuple[Planned, ...]:
    """Return the steps of `create` for a new server, without a request to the target: its namespace is missing."""
    steps = Creation(target, spec, None, {}).steps()
    return tuple(planned(step, step.done(_NOTHING)) for step in steps)


def plan_start(target: Target) -> Plan:
    """Return what `start` would do."""
    record = require_record(target)
    return plan_create(target, record.spec, record, None)


def plan_rotate_keys(target: Target, environment: Mapping[str, str], home: Path, note: Callable[[str], None]) -> Plan:
    """Return what `rotate-keys s3` would do; see `rotate_s3_keys` for errors. The new keys are not tried by a write."""
    record = require_record(target)
    wanted, stored = require_bucket(target, record), require_credentials(target)
    keys = untried_other_keys(target, wanted, stored, environment, home, note)
    return plan_create(target, record.spec, record, None, keys)


def with_pin(plan: Plan, spec: Spec, before: Record | None) -> Plan:
    """Return the plan of `create --pin`: after the proof, the image's digest is stored and the pods use it."""
    pin = before.assigned.pin if before else None
    if pin and pin.image == server.image(spec) and not plan.needed:
        step = Planned("pin", needed=False, state=f"the image is pinned to {pin.digest}")
    else:
        step = Planned("pin", needed=True, state="the digest of the image is known once the server is proven")
    return replace(plan, steps=(*plan.steps, step))


def without_pin(record: Record) -> tuple[Record, tuple[Planned, ...]]:
    """Return the record that `create --no-pin` starts from, and the step that removes the digest."""
    if pin := record.assigned.pin:
        step = Planned("unpin", needed=True, state=f"the image is pinned to {pin.digest}")
        return replace(record, assigned=replace(record.assigned, pin=None)), (step,)
    return record, ()


def _with_record(target: Target, spec: Spec, observed: Observed, provided: Mapping[SecretRef, str]) -> Observed:
    """Return what would be observed after the steps that store the record, the credentials and the address."""
    record = observed.record or Record(spec)
    assigned = record.assigned
    if observed.secrets and provided:
        keys = keys_fingerprint(Secrets({**observed.secrets.values, **provided}))
        assigned = replace(assigned, keys=keys)
    assigned = target.placement.predict_assignment(spec, assigned)
    return replace(observed, record=replace(record, spec=spec, deleted=False, assigned=assigned))


def _changes_of_objects(target: Target, spec: Spec, expected: Observed) -> tuple[Change, ...]:
    """Return what starting the server would change; as far as that is known before an address is assigned."""
    assigned = expected.record.assigned if expected.record else Assigned()
    if not assigned.ports:
        return ()
    stack = build(spec, target.platform(spec, assigned), assigned)
    changes = target.runtime.pending(stack, expected.live)
    if stack.workloads:
        return changes
    return tuple(change for change in changes if change.after is not None)  # the rest needs a host: nothing is pruned


def _outcomes(
    steps: Iterable[Step], observed: Observed, expected: Observed, changes: Iterable[Change]
) -> Iterable[tuple[str, Outcome]]:
    restarts = False
    for step in steps:
        if step.name == "start":
            outcome = _start(observed.live, expected, tuple(changes))
            restarts = isinstance(outcome, Waiting)
        elif step.name in _AFTER_START and restarts:
            running = observed.live.state == "running"
            outcome = Waiting("the server is started anew") if running else step.done(_NOTHING)
        else:
            outcome = step.done(observed)
        yield step.name, outcome


def _start(live: Live, expected: Observed, changes: tuple[Change, ...]) -> Outcome:
    if live.state != "running":
        return Waiting(f"the server does not run: {live.detail}")
    known = expected.record is not None and bool(expected.record.assigned.ports)
    return Done(live.detail) if known and not changes else Waiting(OTHER_SETTINGS)


def _changes_of_urls(stored: Secrets | None, provided: Mapping[SecretRef, str]) -> Iterable[Change]:
    values = stored.values if stored else {}
    for name, ref in DATABASES.items():
        if ref in provided and ref in values and values[ref] != provided[ref]:
            yield Change(f"URL of the {name} database", "***", "***")


def _check(target: Target, spec: Spec, before: Record | None, live: Live) -> None:
    """Raise the errors of the target. A stopped server on this machine must also get its port again."""
    assigned = before.assigned if before else Assigned()
    port = assigned.ports.get("http")
    if target.capabilities.stored_here and live.state in ("stopped", "crashed", "rebooted") and port:
        local = spec.spec.local.model_copy(update={"port": spec.spec.local.port or port})
        spec = spec.model_copy(update={"spec": spec.spec.model_copy(update={"local": local})})
        assigned = Assigned()
    target.placement.check(spec, assigned)
