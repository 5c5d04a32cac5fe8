"""Create: make a server run and prove it, from nothing or from the result of an interrupted attempt."""

from __future__ import annotations

import secrets as token_source
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from deployer.core.errors import Conflict, ServerRefused, VerificationFailed
from deployer.core.outcome import Done, Outcome, Waiting
from deployer.core.remedies import Remedy
from deployer.core.secrets import databases
from deployer.core.secrets.references import ADMIN_PASSWORD, ADMIN_USERNAME, SecretRef
from deployer.core.secrets.values import (
    GENERATED,
    Secrets,
    add_missing,
    fingerprints,
    keys_fingerprint,
    modified_secrets,
)
from deployer.core.spec.schema import Spec
from deployer.core.spec.support import require_supported
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import server
from deployer.core.stack.model import Stack, Workload
from deployer.core.stack.record import Record
from deployer.operations.artifacts import require_same_store
from deployer.operations.databases import or_as_before, require_databases, try_out
from deployer.operations.logins import lost, put_back, recovery, settled
from deployer.operations.records import require_record
from deployer.operations.steps import Progress, Step, run
from deployer.targets import Deadline, Observed, Target
from deployer.tracking.client import Endpoint, Login, Refused, Unreachable
from deployer.tracking.report import Report
from deployer.tracking.verify import verify, verify_quickly

OTHER_SETTINGS: Final = "the server runs with other settings"
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
        record, stored = _known(observed)
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
    record, stored = _known(observed)
    with target.access.open(record.assigned, deadline) as endpoint:
        report = verify_quickly(endpoint, _login(endpoint, stored))
    report.require(lambda: recovery(target))
    return Created(record, target.access.endpoint(record.assigned), stored.username, report, changed=changed)


def _login(endpoint: Endpoint, stored: Secrets) -> Login:
    """Return the login to prove the server with.

    If the server cannot be asked which password is valid, return the current one. The proof then reports the failure.
    """
    try:
        return settled(endpoint, stored)
    except (Unreachable, Refused):
        return Login(stored.username, stored.password)


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


def _known(observed: Observed) -> tuple[Record, Secrets]:
    if observed.record is None or observed.secrets is None:
        raise Conflict("the server was deleted while it was being created", hint="try again")
    return observed.record, observed.secrets


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


class Creation:
    """The steps of one `create`, and the report of its proof."""

    def __init__(
        self,
        target: Target,
        spec: Spec,
        password: str | None,
        provided_credentials: Mapping[SecretRef, str],
        *,
        replaces: bool = False,
    ) -> None:
        self._replaces = replaces  # the stored spec is another one, and the server may have been proven with it
        self._target = target
        self._spec = spec
        self._password = password
        self._provided = provided_credentials
        self.report: Report | None = None

    def steps(self) -> tuple[Step, ...]:
        """Return the steps in order."""
        return (
            Step("environment", self._prepared, self._prepare),  # first: a spec that cannot be installed is not stored
            Step("record", self._recorded, self._record),
            Step("credentials", self._credentials_there, self._claim),
            Step("address", self._has_address, self._assign),
            Step("start", self._started, self._apply),
            Step("ready", self._ready, self._wait, changes=False),
            Step("verify", self._proven, self._verify),
        )

    def wanted(self, observed: Observed) -> bool:
        """Tell whether the stored spec is the requested one and the server was proven; a cheap check."""
        return isinstance(self._recorded(observed), Done) and isinstance(self._proven(observed), Done)

    def _recorded(self, observed: Observed) -> Outcome:
        record = observed.record
        if record and record.spec == self._spec and not record.deleted:
            return Done("the spec is stored")
        return Waiting("the spec is not stored yet")

    def _record(self, target: Target, observed: Observed, _: Deadline) -> None:
        before = observed.record or Record(self._spec)
        target.store.save(replace(before, spec=self._spec, deleted=False))

    def _credentials_there(self, observed: Observed) -> Outcome:
        stored = observed.secrets
        complete = stored and set(server.needs(self._spec)) <= set(stored.values) and not self._new_keys(stored)
        if stored and complete and observed.record and observed.record.assigned.keys == keys_fingerprint(stored):
            return Done(f"user {stored.username!r}")
        return Waiting("the credentials are not complete")

    def _new_keys(self, stored: Secrets) -> dict[SecretRef, str]:
        return {ref: value for ref, value in self._provided.items() if stored.values.get(ref) != value}

    def _claim(self, target: Target, observed: Observed, _: Deadline) -> None:
        given: Mapping[SecretRef, str] = {ADMIN_USERNAME: self._spec.spec.auth.admin_username}
        if self._password is not None:
            given = {**given, ADMIN_PASSWORD: self._password}
        stored = target.store.create_if_absent(
            add_missing(observed.secrets, GENERATED, token_source.token_bytes, given)
        )
        if new := self._new_keys(stored):
            proven = observed.record is not None and bool(observed.record.fingerprints)
            target.store.patch_secrets(databases.staged(stored.values, new) if proven else new)
        record, keys = observed.record, keys_fingerprint(Secrets({**stored.values, **new}))
        if record and record.assigned.keys != keys:
            target.store.save(replace(record, assigned=replace(record.assigned, keys=keys)))

    def _prepared(self, observed: Observed) -> Outcome:
        return self._target.installation.prepared(self._workloads(observed.record))

    def _prepare(self, target: Target, observed: Observed, deadline: Deadline) -> None:
        target.installation.prepare(self._workloads(observed.record), deadline)

    def _workloads(self, record: Record | None) -> tuple[Workload, ...]:
        """Return the workloads with their predicted addresses: software is installed before an address is assigned."""
        before = record.assigned if record else Assigned()
        predicted = self._target.placement.predict_assignment(self._spec, before)
        return self._target.stack(self._spec, predicted).workloads

    def _has_address(self, observed: Observed) -> Outcome:
        record = observed.record
        if record and self._target.placement.assigned(self._spec, record.assigned):
            return Done(self._target.access.endpoint(record.assigned).url)
        known = record is not None and bool(record.assigned.ports)
        return Waiting("the stored address does not fit the spec" if known else "no address is assigned yet")

    def _assign(self, target: Target, observed: Observed, deadline: Deadline) -> None:
        record, _ = _known(observed)
        with target.placement.assign(self._spec, record.assigned, deadline) as assigned:
            target.store.save(replace(record, assigned=assigned))

    def _stack(self, record: Record) -> Stack:
        return self._target.stack(self._spec, record.assigned)

    def _started(self, observed: Observed) -> Outcome:
        live = observed.live
        if live.state != "running":
            return Waiting(f"the server does not run: {live.detail}")
        if observed.record is None or self._target.runtime.pending(self._stack(observed.record), live):
            return Waiting(OTHER_SETTINGS)
        return Done(live.detail)

    def _apply(self, target: Target, observed: Observed, deadline: Deadline) -> None:
        record, stored = _known(observed)
        target.runtime.apply(self._stack(record), stored, deadline)

    def _ready(self, observed: Observed) -> Outcome:
        return Done("it reads its databases") if observed.ready else Waiting("the server is not ready")

    def _wait(self, target: Target, observed: Observed, deadline: Deadline) -> None:
        record, _ = _known(observed)
        try:
            target.runtime.wait(self._stack(record), deadline)
        except ServerRefused as error:
            way_back = "the old spec brings the server back" if self._replaces and record.fingerprints else None
            raise ServerRefused(error.message, hint=way_back) from error

    def _proven(self, observed: Observed) -> Outcome:
        proof = observed.record.proof if observed.record else None
        if proof and proof == observed.live.identity:
            return Done("proven")
        return Waiting("the server is not proven")

    def _verify(self, target: Target, observed: Observed, deadline: Deadline) -> None:
        record, stored = _known(observed)
        with target.access.open(record.assigned, deadline) as endpoint:
            login = _login(endpoint, stored)
            self.report = verify(endpoint, login)
            if not self.report.answered:  # a restart of the API server breaks the tunnel
                self.report = verify(endpoint, login)
        self.report.require(lambda: recovery(target))
        if replaced := databases.settled(stored.values):
            target.store.patch_secrets(replaced)
        target.store.save(replace(record, proof=observed.live.identity, fingerprints=fingerprints(stored)))
