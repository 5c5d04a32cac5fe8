"""The steps of a password rotation: stage the new password, change it on the server, record it, prove the server.

The new password is stored as pending before the server receives it, so that a kill at any moment loses neither
password. The server itself is asked which of the two is valid.
"""

from __future__ import annotations

import base64
import json
import secrets as token_source
import time
from dataclasses import replace
from typing import Final

from deployer.catalogue import catalogue
from deployer.core.errors import Conflict, NotFound
from deployer.core.outcome import Done, Outcome, Waiting
from deployer.core.remedies import Remedy
from deployer.core.secrets.logins import password_problem
from deployer.core.secrets.references import ADMIN_PASSWORD, KEK_PASSPHRASE
from deployer.core.secrets.rotation import Move, next_move
from deployer.core.secrets.values import PASSWORD_BYTES, Secrets, fingerprints
from deployer.operations.logins import password_refs, recovery, settled
from deployer.operations.records import require_record
from deployer.operations.steps import Step
from deployer.targets import Deadline, Observed, Program, Target
from deployer.tracking.client import Endpoint, Login, Refused, Unreachable
from deployer.tracking.login import Unauthenticated, exists
from deployer.tracking.report import Check, Report
from deployer.tracking.users import accepts, change_password
from deployer.tracking.verify import verify_quickly

RECOVER: Final = "recover.py"
_AGAIN_SECONDS: Final = 1.0
_PATIENCE_SECONDS: Final = 20.0  # an ingress or a tunnel may be unreachable for a moment


def new_password() -> str:
    """Return a random password: 32 characters of URL-safe base64."""
    return base64.urlsafe_b64encode(token_source.token_bytes(PASSWORD_BYTES)).decode("ascii")


class Rotation:
    """The steps of one rotation.

    Both passwords stay in memory, so that an edit of the stored ones during the rotation loses neither.
    """

    def __init__(
        self, target: Target, endpoint: Endpoint, user: str, given: str | None, deadline: Deadline, *, recover: bool
    ) -> None:
        self._target = target
        self._endpoint = endpoint
        self._user = user
        self._given = given
        self._deadline = deadline
        self._recover = recover
        self._old: str | None = None
        self._new: str | None = None
        self._old_accepted = False
        self._server_has_it = False
        self.report: Report | None = None

    def steps(self) -> tuple[Step, ...]:
        """Return the steps in order."""
        return (
            Step("stage", self._staged, self._stage),
            Step("change", self._changed, self._change),
            Step("record", self._recorded, self._record),
            Step("verify", self._proven, self._prove),
        )

    def require_user(self, stored: Secrets) -> None:
        """Check that the server has this user.

        Raises:
            NotFound: the server has no such user.
            Conflict: the server rejects the administrator's stored password.
        """
        if self._user == stored.username:
            return
        try:
            if exists(self._endpoint, settled(self._endpoint, stored), self._user):
                return
        except Unauthenticated:
            raise Conflict(
                f"the server does not accept the stored password of {stored.username!r}, who would change this one",
                hint=recovery(self._target),
            ) from None
        address = self._target.access.endpoint(require_record(self._target).assigned).url
        raise NotFound(
            f"the server has no user {self._user!r}",
            hint=f"make the account first, at {address}/signup as {stored.username!r}",
        )

    def _staged(self, observed: Observed) -> Outcome:
        if self._new is not None:
            return Done("a new password is kept as pending")
        stored = _present(observed)
        current, pending = (stored.values.get(ref) for ref in password_refs(stored, self._user))
        self._old_accepted = current is not None and current != pending and self._accepted(current)
        pending_accepted = None if pending is None else self._accepted(pending)
        if not pending_accepted and not usable(pending):
            pending = pending_accepted = None  # a new password replaces it
        if pending is None and self._old_accepted and current == self._given:
            self._new, self._server_has_it = current, True
            return Done("this password is the stored one already")
        move = next_move(
            current=self._old_accepted,
            pending=pending_accepted,
            authority=self._recover or self._user != stored.username,
        )
        if move in (Move.STOP_BOTH, Move.STOP_NEITHER):
            raise self._stop(move, stored)
        self._old = None if current == pending else current
        if move is Move.STAGE:
            return Waiting("no new password is made yet")
        self._new, self._server_has_it = pending, move is Move.PROMOTE
        return Done("a new password is kept as pending")

    def _stop(self, move: Move, stored: Secrets) -> Conflict:
        if move is Move.STOP_BOTH:
            return Conflict(
                f"the server accepts two passwords of {self._user!r}; nothing was changed",
                hint=Remedy.CHECK_AUTHENTICATION,
            )
        return Conflict(
            f"the server does not accept the stored password of {self._user!r}: one of the two was changed by hand",
            hint=recovery(self._target),
        )

    def _stage(self, target: Target, observed: Observed, _: Deadline) -> None:
        pending = password_refs(_present(observed), self._user)[1]
        made = self._given or new_password()
        target.store.patch_secrets({pending: made})
        self._new = made

    def _changed(self, _: Observed) -> Outcome:
        if self._server_has_it:
            return Done(f"the server accepts it for {self._user!r}")
        return Waiting("the server does not accept it yet")

    def _change(self, target: Target, observed: Observed, deadline: Deadline) -> None:
        """Send the new password until the server accepts it.

        After each request, the server is asked whether it accepts the password, because the response may be lost.
        """
        while True:
            try:
                self._tell(target, observed, deadline)
            except Unreachable as error:
                deadline.require(f"the server does not answer: {error}")
            except Refused as error:
                if error.status != 401:  # after a lost response, the repeated request gets 401
                    raise
            self._server_has_it = self._accepted(self._known())
            if self._server_has_it:
                return
            deadline.require("the server does not accept the new password")
            time.sleep(_AGAIN_SECONDS)

    def _tell(self, target: Target, observed: Observed, deadline: Deadline) -> None:
        stored = _present(observed)
        if self._user != stored.username:
            change_password(self._endpoint, settled(self._endpoint, stored), self._user, self._known())
        elif self._old is not None and self._old_accepted:
            change_password(self._endpoint, Login(self._user, self._old), self._user, self._known())
        else:
            record = require_record(target)
            stack = target.stack(record.spec, record.assigned)
            told = json.dumps({"username": self._user, "password": self._known()}) + "\n"
            work = Program(catalogue().programs[RECOVER], told)
            target.runtime.execute(stack, stored, work, deadline)

    def _recorded(self, observed: Observed) -> Outcome:
        stored = observed.secrets
        if stored is None:
            return Waiting("the stored passwords are gone")
        current, pending = password_refs(stored, self._user)
        if pending not in stored.values and stored.values.get(current) == self._new:
            return Done("the new password is the stored one")
        return Waiting("the new password is not the stored one yet")

    def _record(self, target: Target, observed: Observed, _: Deadline) -> None:
        stored = _present(observed)
        current, pending = password_refs(stored, self._user)
        record = require_record(target)
        if current == ADMIN_PASSWORD and record.fingerprints and KEK_PASSPHRASE in stored.values:
            fingerprint = fingerprints(Secrets({**stored.values, current: self._known()}))[current.secret]
            # save the record first: `modified_secrets` accepts the fingerprint of the pending password
            target.store.save(replace(record, fingerprints={**record.fingerprints, current.secret: fingerprint}))
        target.store.patch_secrets({current: self._known(), pending: None})

    def _proven(self, _: Observed) -> Outcome:
        return Done("proven") if self.report else Waiting("the new password is not proven")

    def _prove(self, *_: object) -> None:
        report = verify_quickly(self._endpoint, Login(self._user, self._known()))
        checks = list(report.checks)
        if self._old is not None:
            refused = not self._accepted(self._old)
            checks.append(Check("old password refused", refused, "refused" if refused else "it is still accepted"))
        self.report = Report(tuple(checks))

    def _known(self) -> str:
        assert self._new is not None  # set by the first step
        return self._new

    def _accepted(self, password: str) -> bool:
        """Tell whether the server accepts a password; retry for _PATIENCE_SECONDS while the server does not answer."""
        patience = Deadline.after(min(_PATIENCE_SECONDS, self._deadline.left))
        while True:
            try:
                return accepts(self._endpoint, Login(self._user, password))
            except Unreachable:
                if not patience.left:
                    raise
                time.sleep(_AGAIN_SECONDS)


def _present(observed: Observed) -> Secrets:
    if observed.secrets is None:
        raise Conflict("somebody has deleted the stored passwords in the meantime", hint=Remedy.ADD_RECOVER)
    return observed.secrets


def usable(pending: str | None) -> str | None:
    """Return a pending password if MLflow would accept it, else None: the stored value may have been edited."""
    return None if pending is None or password_problem(pending) else pending
