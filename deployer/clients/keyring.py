"""The system's keyring, through the optional package `keyring`: one password per server and user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from deployer.core.errors import DeployerError, StateError
from deployer.core.remedies import Remedy


class NoKeyring(DeployerError):
    """No keyring can store a password."""


def keep(service: str, username: str, password: str) -> str:
    """Store a password, check that it can be read back, and return the keyring's name.

    Raises:
        NoKeyring: no usable keyring was found, or it is locked.
        StateError: the keyring returns another password.
    """
    with _opened() as ring:
        ring.set_password(service, username, password)
        if ring.get_password(service, username) != password:
            raise StateError(
                f"the keyring ({_name(ring)}) does not keep what it is given", hint=Remedy.LEAVE_KEYRING_OUT
            )
        return _name(ring)


def known_user(service: str) -> str | None:
    """Return the user of the stored password, None if the keyring cannot tell."""
    with _opened() as ring:
        found = ring.get_credential(service, None)
        return found.username if found else None


def forget(service: str, username: str) -> bool:
    """Delete a password; return whether there was one."""
    with _opened() as ring:
        if ring.get_password(service, username) is None:
            return False
        ring.delete_password(service, username)
        return True


@contextmanager
def _opened() -> Iterator[ModuleType]:
    try:
        import keyring  # noqa: PLC0415  # optional
        import keyring.errors  # noqa: PLC0415  # as above
    except ImportError:
        raise NoKeyring("the Python package keyring is not installed here", hint=Remedy.INSTALL_KEYRING) from None
    try:
        yield keyring
    except keyring.errors.NoKeyringError:
        raise NoKeyring(
            "this machine has no keyring that keyring can use: no desktop session with Secret Service or KWallet, "
            "as on most login nodes",
            hint=Remedy.LEAVE_KEYRING_OUT,
        ) from None
    except keyring.errors.KeyringLocked:
        raise NoKeyring("the keyring is locked", hint=Remedy.UNLOCK_KEYRING) from None
    except keyring.errors.KeyringError as error:
        raise NoKeyring(f"the keyring refuses ({type(error).__name__})", hint=Remedy.LEAVE_KEYRING_OUT) from None


def _name(ring: ModuleType) -> str:
    return str(getattr(ring.get_keyring(), "name", "unnamed"))
