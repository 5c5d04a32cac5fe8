"""The logins that deployer keeps: the administrator's, and those of members whose passwords it has made."""

from __future__ import annotations

from deployer.core.address import at_loopback
from deployer.core.errors import NotFound
from deployer.core.record import Record
from deployer.core.secrets import ADMIN_PASSWORD, ADMIN_PENDING, Secrets, member_refs
from deployer.core.stack import SecretRef
from deployer.operations.records import require_record, typed
from deployer.targets import Target
from deployer.tracking.client import Endpoint, Login, Refused, Unreachable
from deployer.tracking.users import accepts


class _NotKept(NotFound):
    """No password of a user is kept."""

    @staticmethod
    def text(user: str) -> str:
        return f"no password of {user!r} is kept here: only those that deployer made are"


def password_refs(secrets: Secrets, user: str) -> tuple[SecretRef, SecretRef]:
    """Return where the current and the pending password of a user are kept."""
    return (ADMIN_PASSWORD, ADMIN_PENDING) if user == secrets.username else member_refs(user)


def login_of(target: Target, user: str | None = None) -> Login:
    """Return the administrator's login, or a member's, with the password that the server accepts.

    Raises:
        NotFound: there is no such server, or no password of that user is kept.
    """
    stored = target.store.secrets()
    if stored is None:
        if require_record(target).fingerprints:
            raise NotFound(f"the credentials of server {target.name!r} are gone: {lost(target)}", hint=put_back(target))
        raise NotFound(
            f"server {target.name!r} has no credentials yet", hint=f"`deployer create {target.name}` goes on"
        )
    who = user or stored.username
    current, pending = password_refs(stored, who)
    if pending in stored.values and (record := _serving(target)):
        try:
            with target.access.open(record.assigned) as endpoint:
                return settled(endpoint, stored, who)
        except (Unreachable, Refused):
            pass  # a server that does not answer leaves open which of the two it is
        except _NotKept:
            pass  # told below, with what to type
    if current not in stored.values:
        raise NotFound(
            _NotKept.text(who), hint=f"`{typed(target, 'rotate-password', '--user', who)}` gives the user a new one"
        )
    return Login(who, stored[current])


def _serving(target: Target) -> Record | None:
    """Return the record of a server that runs where its address leads: anybody may listen where another one was."""
    record = target.store.load()
    if record is None or record.deleted or not record.assigned.ports:
        return None
    state = target.runtime.observe().state
    return record if state == "running" or (state == "elsewhere" and not at_loopback(record.assigned.host)) else None


def settled(endpoint: Endpoint, secrets: Secrets, user: str | None = None) -> Login:
    """Return a user's login: with the pending password where a change was cut short after the server had made it.

    Raises:
        NotFound: no password of that user is kept that could be it.
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
    """Return where the credentials were, and that the data is still there."""
    names = " and ".join(dict.fromkeys(target.store.secret_name(name) for name in ("admin", "server")))
    return f"{names} cannot be found; its data is still there"


def put_back(target: Target) -> str:
    """Return what to do where the credentials are gone."""
    return (
        f"put them back from a backup; without one, `{typed(target, 'delete', '--delete-data')}` deletes the server "
        "with all its data"
    )


def recovery(target: Target) -> str:
    """Return what to do where the server does not accept the administrator's stored password."""
    return (
        f"put the one that the server knows back into {target.store.secret_name('admin')}, or "
        f"`{typed(target, 'rotate-password', '--recover')}` sets a new one in the server's own database"
    )


def interrupted(target: Target, user: str | None = None) -> bool:
    """Tell whether a change of a password was begun and not ended."""
    stored = target.store.secrets()
    return stored is not None and password_refs(stored, user or stored.username)[1] in stored.values
