"""Rotate: gives the administrator or a member a new password without a restart, and proves the server with it."""

from __future__ import annotations

from dataclasses import dataclass

from deployer.core.errors import Conflict, NotFound, NotReady, StateError, UsageError, VerificationFailed
from deployer.core.remedies import Remedy
from deployer.core.secrets.logins import member_problem
from deployer.core.secrets.references import ADMIN_PASSWORD, ADMIN_PENDING, ADMIN_USERNAME
from deployer.core.secrets.values import Secrets
from deployer.operations.away import require_reach
from deployer.operations.logins import lost, password_refs, put_back
from deployer.operations.records import require_record
from deployer.operations.rotation_steps import Rotation, new_password, usable
from deployer.operations.steps import Progress, run
from deployer.targets import Deadline, Live, Observed, Target
from deployer.tracking.client import Endpoint, Refused, Unreachable
from deployer.tracking.refusals import meaning
from deployer.tracking.report import Report


@dataclass(frozen=True)
class Rotated:
    """The result of a rotation."""

    endpoint: Endpoint
    username: str
    report: Report


def rotate(
    target: Target,
    user: str | None,
    password: str | None,
    deadline: Deadline,
    progress: Progress,
    *,
    recover: bool = False,
) -> Rotated:
    """Give `user`, by default the administrator, `password` or a generated one, and prove the server with it.

    A repeated call continues an interrupted rotation. With `recover`, the administrator's password is set in the
    server's own database if the server accepts none of the stored ones.

    Raises:
        NotFound: the server, its credentials or the user do not exist.
        NotReady: the server does not run or does not answer.
        UsageError: a member cannot have this user name.
        StateError: with `recover`, the Secret with the server's keys is gone too.
        Conflict: the server accepts neither or both of the stored and the pending password, or runs out of reach on
            another machine.
        VerificationFailed: the server refuses the change, still accepts the old password or anonymous callers, or
            rejects the new password.
    """
    require_record(target)
    require_user_name(user)
    with target.store.lock("rotate-password", deadline, lambda holder: progress.note(f"waiting for {holder}")):
        record = require_record(target)  # read again: the previous holder of the lock may have changed the address
        stored = _stored(target, recover=recover)
        live = running(target, recover=recover)
        try:
            with target.access.open(record.assigned, deadline) as endpoint:
                who = user or stored.username
                for given in passwords_in_turn(stored, who, password):
                    work = Rotation(target, endpoint, who, given, deadline, recover=recover)
                    work.require_user(stored)
                    # only the Secrets are observed: a busy server gets no further requests
                    run(
                        work.steps(),
                        target,
                        deadline,
                        progress,
                        lambda: Observed(record, target.store.secrets(), live, ready=True),
                    )
        except Unreachable as error:
            raise NotReady(str(error), hint="type the same command again: it continues from here") from error
        except Refused as error:
            raise VerificationFailed(f"the server does not change the password: {meaning(error).message}") from error
    report = work.report
    assert report is not None  # set by the last step
    report.require()
    return Rotated(target.access.endpoint(record.assigned), who, report)


def require_user_name(user: str | None) -> None:
    """Check that a member can have this user name.

    Raises:
        UsageError: the name is not valid, or too long to store the password.
    """
    if user is not None and (problem := member_problem(user)):
        raise UsageError(f"{user!r} cannot be a user: the name {problem}", hint=Remedy.NAME_USER)


def passwords_in_turn(stored: Secrets, user: str, password: str | None) -> list[str | None]:
    """Return the passwords to set, one after the other; None stands for the pending or a generated one.

    An interrupted rotation is completed first, even if another password is wanted now.
    """
    begun = usable(stored.values.get(password_refs(stored, user)[1]))
    return [password] if begun in (None, password) or password is None else [None, password]


def running(target: Target, *, recover: bool) -> Live:
    """Return the state of a server that answers from here; `recover` excludes servers on another machine."""
    live = target.runtime.observe()
    require_reach(target)
    if live.state not in {"running", "elsewhere"}:
        raise NotReady(
            f"server {target.name!r} does not run ({live.detail}), and a password is changed through it",
            hint=Remedy.START_AND_REPEAT.of(server=target.ref),
        )
    if live.state == "elsewhere" and recover:
        raise Conflict(
            f"the server's own Python sets the password, and that is on another machine: {live.detail}",
            hint=f"type the same command on {live.host}",
        )
    return live


def _stored(target: Target, *, recover: bool) -> Secrets:
    """Return the stored secrets; with `recover`, create the administrator's if they are missing."""
    if stored := known_secrets(target, recover=recover):
        return stored
    made = new_password()
    username = require_record(target).spec.spec.auth.admin_username
    return target.store.create_if_absent(Secrets({ADMIN_USERNAME: username, ADMIN_PASSWORD: made, ADMIN_PENDING: made}))


def known_secrets(target: Target, *, recover: bool) -> Secrets | None:
    """Return the stored secrets; None if `recover` has to create the administrator's anew.

    Raises:
        NotFound: the credentials are gone.
        StateError: with `recover`, the Secret with the server's keys is gone too.
    """
    stored = target.store.secrets()
    if stored is not None:
        return stored
    if not target.store.existing_secrets():
        raise NotFound(f"the credentials of server {target.name!r} are gone: {lost(target)}", hint=put_back(target))
    if not recover:
        raise NotFound(
            f"the password of server {target.name!r} is gone: {target.store.secret_name('admin')}",
            hint=Remedy.RECOVER_PASSWORD.of(server=target.ref),
        )
    if "server" not in target.store.existing_secrets():
        raise StateError(
            f"the keys of server {target.name!r} are gone too ({target.store.secret_name('server')}): "
            "what is encrypted in its database cannot be read without them",
            hint="put that Secret back from a backup first",
        )
    return None
