"""The secrets that a server needs, and which of them are missing. Values are never printed."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from deployer.core.secrets.databases import DATABASES, REPLACED, place
from deployer.core.secrets.references import (
    ADMIN_PASSWORD,
    ADMIN_PENDING,
    ADMIN_USERNAME,
    FLASK_KEY,
    KEK_PASSPHRASE,
    MEMBER,
    S3_ACCESS_KEY,
    S3_SECRET_KEY,
    WEBHOOK_KEY,
    SecretRef,
)

PASSWORD_BYTES: Final = 24  # 32 characters of URL-safe base64


class Kind(Enum):
    """The form of a generated secret."""

    TOKEN = "token"
    FERNET_KEY = "fernet"  # 32 bytes in URL-safe base64 (cryptography.fernet)


@dataclass(frozen=True)
class SecretNeed:
    """A secret that must exist, and the form in which it is generated if it is missing."""

    ref: SecretRef
    kind: Kind = Kind.TOKEN


# credentials for external services; they expire and are replaced
GIVEN: Final = frozenset({S3_ACCESS_KEY, S3_SECRET_KEY, *DATABASES.values()})
_FLEETING: Final = GIVEN | {ADMIN_PENDING, *REPLACED.values()}
GENERATED: Final = (
    SecretNeed(ADMIN_PASSWORD),
    SecretNeed(FLASK_KEY),
    SecretNeed(KEK_PASSPHRASE),
    SecretNeed(WEBHOOK_KEY, Kind.FERNET_KEY),
)


@dataclass(frozen=True, repr=False)
class Secrets:
    """Secret values by reference. `repr`, for example in a traceback, does not show the values."""

    values: Mapping[SecretRef, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = ", ".join(sorted(f"{ref.secret}/{ref.key}" for ref in self.values))
        return f"Secrets({names})"

    def __getitem__(self, ref: SecretRef) -> str:
        return self.values[ref]

    @property
    def username(self) -> str:
        """The administrator's user name."""
        return self.values[ADMIN_USERNAME]

    @property
    def password(self) -> str:
        """The administrator's password."""
        return self.values[ADMIN_PASSWORD]


def add_missing(
    existing: Secrets | None,
    needed: Sequence[SecretNeed],
    token: Callable[[int], bytes],
    given: Mapping[SecretRef, str],
) -> Secrets:
    """Return `existing`, with missing secrets taken from `given` or generated from `token(number of bytes)`.

    Existing values are never changed, because stored data is unreadable without its old key.
    """
    values = {**given, **(existing.values if existing else {})}
    for need in needed:
        if need.ref not in values:
            raw = token(32 if need.kind is Kind.FERNET_KEY else PASSWORD_BYTES)
            values[need.ref] = base64.urlsafe_b64encode(raw).decode("ascii")
    return Secrets(values)


def promoted(secrets: Secrets) -> Secrets:
    """Return `secrets` with the administrator's pending password, if there is one, as the current one."""
    values = dict(secrets.values)
    if ADMIN_PENDING in values:
        values[ADMIN_PASSWORD] = values.pop(ADMIN_PENDING)
    return Secrets(values)


def fingerprints(secrets: Secrets) -> dict[str, str]:
    """Return a fingerprint of each secret, by name. It changes with the values of the secret and does not reveal them.

    A fingerprint is an HMAC under the key-encryption passphrase. Without the passphrase, nobody can test guessed
    passwords against it. Values that change in normal operation are left out: credentials for external services,
    pending passwords and members' passwords. The URL of a database counts without its login: a new login is normal, but
    another database has other data.
    """
    named: dict[str, dict[str, str]] = {}
    for ref, value in secrets.values.items():
        if ref in DATABASES.values():
            named.setdefault(ref.secret, {})[ref.key] = place(value)
        elif ref not in _FLEETING and not ref.key.startswith(MEMBER):
            named.setdefault(ref.secret, {})[ref.key] = value
    return {name: _fingerprint(secrets, values) for name, values in sorted(named.items())}


def keys_fingerprint(secrets: Secrets) -> str | None:
    """Return a fingerprint of the credentials for external services, or None without such credentials."""
    values = {ref.key: value for ref, value in secrets.values.items() if ref in GIVEN}
    return _fingerprint(secrets, values) if values else None


def _fingerprint(secrets: Secrets, values: Mapping[str, str]) -> str:
    key = secrets[KEK_PASSPHRASE].encode()
    return hmac.new(key, json.dumps(values, sort_keys=True).encode(), "sha256").hexdigest()[:32]


def modified_secrets(expected: Mapping[str, str], secrets: Secrets | None) -> tuple[str, ...]:
    """Return the names of the secrets that are gone or whose fingerprint differs from `expected`."""
    if not expected:
        return ()
    if secrets is None:
        return tuple(expected)
    if KEK_PASSPHRASE not in secrets.values:
        return (KEK_PASSPHRASE.secret,)
    # between the last two steps of a rotation, the fingerprint is that of the promoted secret
    now = [fingerprints(secrets), fingerprints(promoted(secrets))]
    modified = tuple(
        name for name, fingerprint in expected.items() if fingerprint not in [found.get(name) for found in now]
    )
    # all fingerprints depend on one key; if the secret with the key was modified, the others cannot be judged
    return (KEK_PASSPHRASE.secret,) if KEK_PASSPHRASE.secret in modified else modified
