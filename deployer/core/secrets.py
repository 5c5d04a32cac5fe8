"""The secrets that a server needs, and which of them are missing. Values are never printed."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from deployer.core.databases import DATABASES, REPLACED, place
from deployer.core.stack import SecretRef

MIN_PASSWORD: Final = 12  # mlflow/utils/validation.py _validate_password
MAX_PASSWORD: Final = 1024  # MLflow has no limit, but HTTP servers limit the header that carries the password
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


ADMIN_USERNAME: Final = SecretRef("admin", "username")
ADMIN_PASSWORD: Final = SecretRef("admin", "current")
ADMIN_PENDING: Final = SecretRef("admin", "pending")  # exists only during a password change
MEMBER: Final = "member."  # prefix of the keys of members' passwords
FLASK_KEY: Final = SecretRef("server", "flask-secret-key")
KEK_PASSPHRASE: Final = SecretRef("server", "kek-passphrase")
WEBHOOK_KEY: Final = SecretRef("server", "webhook-key")

S3_ACCESS_KEY: Final = SecretRef("server", "s3-access-key-id")
S3_SECRET_KEY: Final = SecretRef("server", "s3-secret-access-key")

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


def complete(
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


def member_refs(user: str) -> tuple[SecretRef, SecretRef]:
    """Return where the current and the pending password of a member are kept, in the administrator's secret.

    The key of a Secret has at most 253 characters: letters, digits, `-`, `_` and `.`.
    """
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-.") else f"_{ord(c):02x}" for c in user)
    return SecretRef("admin", f"{MEMBER}{name}.current"), SecretRef("admin", f"{MEMBER}{name}.pending")


def member_problem(user: str) -> str | None:
    """Return why a password of `user` could not be stored, or None."""
    too_long = "has too many characters that are no letters or digits"
    return username_problem(user) or (too_long if len(member_refs(user)[0].key) > 253 else None)


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


def password_problem(password: str) -> str | None:
    """Return why MLflow would not accept `password` on every route, or None. Never quotes the password."""
    if not password:
        return f"the password is empty, MLflow needs at least {MIN_PASSWORD} characters"
    if len(password) < MIN_PASSWORD:
        return f"the password has {len(password)} characters, MLflow needs at least {MIN_PASSWORD}"
    if len(password) > MAX_PASSWORD:
        return f"the password is too long: it must have at most {MAX_PASSWORD} characters"
    if not all(" " <= character <= "~" for character in password):
        return "the password has characters outside printable ASCII, which MLflow refuses on artifact routes"
    if password != password.strip():
        return "the password begins or ends with a space"
    if password == "password1234":
        return "MLflow refuses this password: older versions shipped it as their default"
    return None


def username_problem(username: str) -> str | None:
    """Return why `username` could not log in by HTTP basic authentication, or None."""
    if not username or username != username.strip():
        return "must not be empty, nor begin or end with a space"
    if len(username) > 128:
        return "must not be longer than 128 characters"
    if ":" in username:
        return "must not contain ':', which ends the user name in HTTP basic authentication"
    if not all(" " <= character <= "~" for character in username):
        return "must be printable ASCII"
    return None
