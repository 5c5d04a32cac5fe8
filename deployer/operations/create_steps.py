"""The steps of a create; see create.py."""

from __future__ import annotations

import secrets as token_source
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from deployer.core.errors import Conflict, ServerRefused
from deployer.core.outcome import Done, Outcome, Waiting
from deployer.core.secrets import databases
from deployer.core.secrets.references import ADMIN_PASSWORD, ADMIN_USERNAME, SecretRef
from deployer.core.secrets.values import GENERATED, Secrets, add_missing, fingerprints, keys_fingerprint
from deployer.core.spec.schema import Spec
from deployer.core.stack.assigned import Assigned
from deployer.core.stack.components import server
from deployer.core.stack.model import Stack, Workload
from deployer.core.stack.record import Record
from deployer.operations.logins import recovery, settled
from deployer.operations.steps import Step
from deployer.targets import Deadline, Observed, Target
from deployer.tracking.client import Endpoint, Login, Refused, Unreachable
from deployer.tracking.report import Report
from deployer.tracking.verify import verify

OTHER_SETTINGS: Final = "the server runs with other settings"


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
        record, _ = known(observed)
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
        record, stored = known(observed)
        target.runtime.apply(self._stack(record), stored, deadline)

    def _ready(self, observed: Observed) -> Outcome:
        return Done("it reads its databases") if observed.ready else Waiting("the server is not ready")

    def _wait(self, target: Target, observed: Observed, deadline: Deadline) -> None:
        record, _ = known(observed)
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
        record, stored = known(observed)
        with target.access.open(record.assigned, deadline) as endpoint:
            login = proof_login(endpoint, stored)
            self.report = verify(endpoint, login)
            if not self.report.answered:  # a restart of the API server breaks the tunnel
                self.report = verify(endpoint, login)
        self.report.require(lambda: recovery(target))
        if replaced := databases.settled(stored.values):
            target.store.patch_secrets(replaced)
        target.store.save(replace(record, proof=observed.live.identity, fingerprints=fingerprints(stored)))


def known(observed: Observed) -> tuple[Record, Secrets]:
    """Return the stored record and secrets; raises Conflict if another deployer has deleted them."""
    if observed.record is None or observed.secrets is None:
        raise Conflict("the server was deleted while it was being created", hint="try again")
    return observed.record, observed.secrets


def proof_login(endpoint: Endpoint, stored: Secrets) -> Login:
    """Return the login to prove the server with.

    If the server cannot be asked which password is valid, return the current one. The proof then reports the failure.
    """
    try:
        return settled(endpoint, stored)
    except (Unreachable, Refused):
        return Login(stored.username, stored.password)
