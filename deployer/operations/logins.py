"""The logins that deployer stores: the administrator's, and those of members whose passwords deployer generated."""

from __future__ import annotations

from deployer.core.address import at_loopback
from deployer.core.errors import NotFound
from deployer.core.remedies import Hint, Remedy
from deployer.core.secrets.references import ADMIN_PASSWORD, ADMIN_PENDING, SecretRef, member_refs
from deployer.core.secrets.values import Secrets
from deployer.core.stack.record import Record
from deployer.operations.records import require_record
from deployer.targets import Target
from deployer.tracking.client import Endpoint, Login, Refused, Unreachable
from deployer.tracking.users import accepts


class _NotKept(NotFound):
    """No password of the user is stored."""

    @staticmethod
    def text(user: str) -> str:
        return f"no password of {user!r} is kept here: only those that deployer made are"


def password_refs(secrets: Secrets, user: str) -> tuple[SecretRef, SecretRef]:
    """Return the Secret keys of a user's current and pending password."""
    return (ADMIN_PASSWORD, ADMIN_PENDING) if user == secrets.username else member_refs(user)


def login_of(target: Target, user: str | None = None) -> Login:
    """Return the login of the administrator or a member, with the password that the server accepts.

    Raises:
        NotFound: the server does not exist, or no password of that user is stored.
    """
    stored = target.store.secrets()
    if stored is None:
        if require_record(target).fingerprints:
            raise NotFound(f"the credentials of server {target.name!r} are gone: {lost(target)}", hint=put_back(target))
        raise NotFound(f"server {target.name!r} has no credentials yet", hint=Remedy.GO_ON.of(name=target.name))
    who = user or stored.username
    current, pending = password_refs(stored, who)
    if pending in stored.values and (record := _serving(target)):
        try:
            with target.access.open(record.assigned) as endpoint:
                return settled(endpoint, stored, who)
        except (Unreachable, Refused):
            pass  # without an answer, return the current password
        except _NotKept:
            pass  # the error below has a hint
    if current not in stored.values:
        raise NotFound(_NotKept.text(who), hint=Remedy.NEW_PASSWORD.of(server=target.ref, user=who))
    return Login(who, stored[current])


def _serving(target: Target) -> Record | None:
    """Return the record of a server that runs at its recorded address, else None.

    At the address of a stopped server, another process may listen.
    """
    record = target.store.load()
    if record is None or record.deleted or not record.assigned.ports:
        return None
    state = target.runtime.observe().state
    return record if state == "running" or (state == "elsewhere" and not at_loopback(record.assigned.host)) else None


def settled(endpoint: Endpoint, secrets: Secrets, user: str | None = None) -> Login:
    """Return a user's login with the pending password if the server accepts it, else with the current one.

    A pending password is valid if a change was interrupted after the server had made it.

    Raises:
        NotFound: no valid password of that user is stored.
    """
    who = user or secrets.username
    current, pending = password_refs(secrets, who)
    if pending in secrets.values:
        changed = Login(who, secrets[pending])
        if accepts(endpoint, changed):
            return changed
    if current not in secrets.values:
        raise _NotKept(_NotKept.text(who))
    return Login(who, secrets[current])


def lost(target: Target) -> str:
    """Return which credentials are missing, and that the data still exists."""
    names = " and ".join(dict.fromkeys(target.store.secret_name(name) for name in ("admin", "server")))
    return f"{names} cannot be found; its data is still there"


def put_back(target: Target) -> Hint:
    """Return a hint for missing credentials."""
    return Remedy.RESTORE_CREDENTIALS.of(server=target.ref)


def recovery(target: Target) -> Hint:
    """Return a hint for a server that rejects the administrator's stored password."""
    secret = target.store.secret_name("admin")
    return Remedy.RESTORE_OR_RECOVER_PASSWORD.of(server=target.ref, secret=secret)


def interrupted(target: Target, user: str | None = None) -> bool:
    """Tell whether a change of the user's password was begun and not completed."""
    stored = target.store.secrets()
    return stored is not None and password_refs(stored, user or stored.username)[1] in stored.values
