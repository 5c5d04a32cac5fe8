"""Log in and out: stores a checked login for this user's MLflow clients, and removes it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deployer.clients import credentials_file, keyring
from deployer.core.clients.credentials import Damaged, Entry, Owner, foreign, owner_of, with_login, without_login
from deployer.core.errors import NotReady, StateError
from deployer.core.remedies import Remedy
from deployer.operations.away import require_reach
from deployer.operations.records import endpoint_of, require_record
from deployer.targets import Deadline, Target
from deployer.tracking.client import Endpoint, Login


@dataclass(frozen=True)
class Kept:
    """Where a login is stored now.

    `before` is the address of the server whose login deployer replaced. `foreign` is True if the file had a login that
    deployer did not write.
    """

    file: Path | None
    keyring: str | None
    changed: bool
    before: str | None = None
    foreign: bool = False
    notes: tuple[str, ...] = ()


@contextmanager
def reachable(target: Target, deadline: Deadline) -> Iterator[Endpoint]:
    """Yield an address at which a server of deployer answers from this machine.

    Raises:
        NotFound: the server does not exist, or has no address yet.
        NotReady: the server does not run.
        Conflict: the server can be reached only on another machine.
    """
    endpoint_of(target)
    live = target.runtime.observe()
    require_reach(target)
    if live.state not in {"running", "elsewhere"}:
        raise NotReady(f"server {target.name!r} does not run: {live.detail}", hint=Remedy.START.of(server=target.ref))
    with target.access.open(require_record(target).assigned, deadline) as endpoint:
        yield endpoint


def keep(owner: Owner, login: Login) -> Kept:
    """Store a login in the credentials file. It replaces deployer's earlier login; any other login is kept beside it.

    Raises:
        StateError, Forbidden, Conflict: the file cannot be changed, and is as it was.
    """
    entry, seen = Entry(owner, login.username, login.password), ""

    def edit(text: str) -> str:
        nonlocal seen
        seen = text
        return with_login(text, entry)

    change = credentials_file.change(edit, private=True)
    earlier = owner_of(seen)
    before = earlier.url if earlier and earlier.url != owner.url else None
    return Kept(change.path, None, change.changed, before, foreign(seen), change.notes)


def keep_in_keyring(owner: Owner, login: Login) -> Kept:
    """Store a password in the keyring, and remove it from the credentials file.

    Raises:
        NoKeyring: no usable keyring was found.
    """
    name = keyring.keep(owner.url, login.username, login.password)
    gone = drop(owner)
    return Kept(gone.path if gone.changed else None, name, changed=True, notes=gone.notes)


def drop(owner: Owner | None) -> credentials_file.Change:
    """Remove deployer's login from the credentials file, and restore the login that it replaced.

    `owner` limits this to the login of one server; None matches any server. An owner without a URL is matched by name,
    because a deleted server has no address any more.
    """

    def edit(text: str) -> str:
        found = owner_of(text)
        if found is None or not (owner is None or _same(found, owner)):
            return text
        return without_login(text)

    return credentials_file.change(edit)


def kept_owner() -> Owner | None:
    """Return the server whose login deployer has written to the credentials file; None without such a login.

    Raises:
        StateError: the file is damaged.
    """
    try:
        return owner_of(credentials_file.read() or "")
    except Damaged as damage:
        raise StateError(f"{credentials_file.path()} is damaged: {damage}", hint="mend it, then again") from None


def _same(found: Owner, wanted: Owner) -> bool:
    return found.url == wanted.url if wanted.url else found.name == wanted.name
