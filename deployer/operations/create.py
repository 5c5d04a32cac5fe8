"""Create: make a server run and prove it, from nothing or from the result of an interrupted attempt."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from deployer.core.errors import Conflict, VerificationFailed
from deployer.core.outcome import Done
from deployer.core.remedies import Remedy
from deployer.core.secrets.references import SecretRef
from deployer.core.secrets.values import modified_secrets
from deployer.core.spec.schema import Spec
from deployer.core.spec.support import require_supported
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.record import Record
from deployer.operations.artifacts import require_same_store
from deployer.operations.create_steps import Creation, known, proof_login
from deployer.operations.databases import or_as_before, require_databases, try_out
from deployer.operations.logins import lost, put_back, recovery
from deployer.operations.records import require_record
from deployer.operations.steps import Progress, run
from deployer.targets import Deadline, Observed, Target
from deployer.tracking.client import Endpoint
from deployer.tracking.report import Report
from deployer.tracking.verify import verify_quickly

_WAY_BACK_SECONDS: Final = 120.0  # the minimum time for restoring the proven databases, even after the deadline


@dataclass(frozen=True)
class Created:
    """The result of `create`; `changed` is False if the server already ran as requested."""

    record: Record
    endpoint: Endpoint
    username: str
    report: Report
    changed: bool


def create(
    target: Target,
    spec: Spec,
    before: Record | None,
    password: str | None,
    deadline: Deadline,
    progress: Progress,
    provided_credentials: Mapping[SecretRef, str] = MappingProxyType({}),
) -> Created:
    """Make `spec` run on `target` and prove the server; write nothing if the server already runs and was proven.

    `before` is the record that `spec` is based on. `password` becomes the administrator's password if the server has
    none yet. `provided_credentials` are new credentials of external services. If the server cannot be proven with new
    database URLs, the proven URLs are restored.

    Raises:
        Conflict: the stored record differs from `before`, or the requested login differs from the stored one.
        VerificationFailed: the server runs, but a check of the proof failed.
        DeployerError: other errors; each says what to do next.
    """
    require_possible(target, spec, before, password, provided_credentials)  # fail before the lock
    try_out(target, before, provided_credentials, deadline, progress)
    creation = Creation(
        target, spec, password, provided_credentials, replaces=before is not None and before.spec != spec
    )
    observed = target.observe()
    with ThreadPoolExecutor(2) as pool:
        # if nothing seems to have changed, run the quick proof and the checks of the steps at the same time
        wanted = observed.ready and creation.wanted(observed)
        proving = pool.submit(_proven_again, target, observed, None, changed=False) if wanted else None
        in_use = pool.submit(target.store.in_use) if wanted else None
        done = wanted and all(isinstance(step.done(observed), Done) for step in creation.steps())
        if proving and in_use and done and not in_use.result():
            with suppress(VerificationFailed):  # the address may be unreachable for a moment; the steps below wait
                return proving.result()
    with target.store.lock("create", deadline, lambda holder: progress.note(f"waiting for {holder}")):
        # the previous holder of the lock may have changed the server: check again
        now = target.store.load()
        _require_unchanged(before, now, spec)
        _require_same_login(target, before, spec, password)
        require_databases(target, now, spec, provided_credentials)
        target.placement.check(spec, before.assigned if before else Assigned())

        def as_before() -> bool:
            longer = Deadline.after(max(deadline.left, _WAY_BACK_SECONDS))
            return run(Creation(target, spec, None, {}).steps(), target, longer, progress)

        changed = or_as_before(target, lambda: run(creation.steps(), target, deadline, progress), as_before, progress)
        observed = target.observe()
        if creation.report is None:
            return _proven_again(target, observed, deadline, changed=changed)
        record, stored = known(observed)
        return Created(record, target.access.endpoint(record.assigned), stored.username, creation.report, changed=True)


def require_possible(
    target: Target, spec: Spec, before: Record | None, password: str | None, provided: Mapping[SecretRef, str]
) -> None:
    """Raise each error of a `create` that is known without a lock and a write; see `create`."""
    assigned = before.assigned if before else Assigned()
    require_supported(spec, target.platform(spec, assigned), "the spec")
    _require_same_login(target, before, spec, password)
    target.placement.predict_assignment(spec, assigned)
    require_same_store(before, spec)
    require_databases(target, before, spec, provided)


def _proven_again(target: Target, observed: Observed, deadline: Deadline | None, *, changed: bool) -> Created:
    record, stored = known(observed)
    with target.access.open(record.assigned, deadline) as endpoint:
        report = verify_quickly(endpoint, proof_login(endpoint, stored))
    report.require(lambda: recovery(target))
    return Created(record, target.access.endpoint(record.assigned), stored.username, report, changed=changed)


def _require_unchanged(before: Record | None, now: Record | None, spec: Spec) -> None:
    if before == now or (now and now.spec == spec and not now.deleted):
        return
    if before is None or now is None or before.spec != now.spec or before.deleted != now.deleted:
        raise Conflict(
            "another deployer changed or deleted this server in the meantime", hint="look at it, then try again"
        )


def start(target: Target, deadline: Deadline, progress: Progress) -> Created:
    """Start a stopped server with its stored spec, and prove it."""
    record = require_record(target)
    return create(target, record.spec, record, None, deadline, progress)


def _require_same_login(target: Target, before: Record | None, spec: Spec, password: str | None) -> None:
    existing = target.store.secrets()
    if modified := modified_secrets(before.fingerprints if before else {}, existing):
        if not target.store.existing_secrets():
            raise Conflict(
                f"the credentials of server {target.name!r} are gone: {lost(target)}; nothing was changed",
                hint=put_back(target),
            )
        names = " and ".join(target.store.secret_name(name) for name in modified)
        raise Conflict(
            f"{names}: changed since the server was last proven; nothing was done",
            hint="put the old values back: the server knows the old password, and its data is under the old keys",
        )
    if existing is None:
        return
    if existing.username != spec.spec.auth.admin_username:
        raise Conflict(
            f"the administrator of this server is {existing.username!r}; a spec cannot rename the account",
            hint=Remedy.KEEP_USERNAME.of(username=existing.username),
        )
    if password is not None and password != existing.password:
        raise Conflict(
            "the server has its password already; only a rotation changes it",
            hint=Remedy.KEEP_PASSWORD.of(server=target.ref),
        )
