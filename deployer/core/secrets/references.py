"""References to the values in the secrets of a server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class SecretRef:
    """A reference to a value in one of the server's two secrets; only the target reads the value."""

    secret: Literal["admin", "server"]
    key: str


ADMIN_USERNAME: Final = SecretRef("admin", "username")
ADMIN_PASSWORD: Final = SecretRef("admin", "current")
ADMIN_PENDING: Final = SecretRef("admin", "pending")  # exists only during a password change
MEMBER: Final = "member."  # prefix of the keys of members' passwords
FLASK_KEY: Final = SecretRef("server", "flask-secret-key")
KEK_PASSPHRASE: Final = SecretRef("server", "kek-passphrase")
WEBHOOK_KEY: Final = SecretRef("server", "webhook-key")

S3_ACCESS_KEY: Final = SecretRef("server", "s3-access-key-id")
S3_SECRET_KEY: Final = SecretRef("server", "s3-secret-access-key")


def member_refs(user: str) -> tuple[SecretRef, SecretRef]:
    """Return where the current and the pending password of a member are kept, in the administrator's secret.

    The key of a Secret has at most 253 characters: letters, digits, `-`, `_` and `.`.
    """
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-.") else f"_{ord(c):02x}" for c in user)
    return SecretRef("admin", f"{MEMBER}{name}.current"), SecretRef("admin", f"{MEMBER}{name}.pending")
