"""Rotate keys: find new S3 keys for a server's bucket, try them, store them, and prove the server with them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from deployer.core.errors import Conflict, NotReady, UsageError, VerificationFailed
from deployer.core.remedies import Remedy
from deployer.core.secrets.values import Secrets
from deployer.core.spec.schema import S3Artifacts
from deployer.core.stack.record import Record
from deployer.operations.artifacts import other_keys
from deployer.operations.create import Created, create
from deployer.operations.records import require_record
from deployer.operations.steps import Progress
from deployer.targets import Deadline, Target

S3: Final = "s3"
# the purpose of the server's other keys in MLflow, and why this release does not rotate them
FIXED: Final[Mapping[str, str]] = MappingProxyType(
    {
        # mlflow/utils/crypto.py; mlflow/cli/crypto.py shows the steps of a rotation
        "kek": "the passphrase kek decrypts secrets that are stored in the server's database, such as those of the "
        "gateway; under another one they could not be read any more. They would have to be wrapped anew while the "
        "server is down, which this release does not do",
        # mlflow/store/model_registry/dbmodels/models.py: Fernet
        "webhook": "the key webhook decrypts the secrets of webhooks that are stored in the server's database; under "
        "another one they could not be read any more",
        # mlflow/server/auth/__init__.py create_app: app.secret_key and CSRFProtect, used by the sign-up page alone
        "flask": "the key flask encrypts nothing that is stored: it signs the cookie and the form of the page on which "
        "users are made. It could be exchanged without a loss, but this release does not do it",
    }
)


def require_rotatable(kind: str) -> None:
    """Check that keys of this kind can be rotated.

    Raises:
        UsageError: the kind is unknown or cannot be rotated; the message says why.
    """
    if kind in FIXED:
        raise UsageError(f"{kind} keys stay as they are: {FIXED[kind]}", hint=Remedy.ROTATE_S3_KEYS)
    if kind != S3:
        known = ", ".join((S3, *FIXED))
        raise UsageError(f"there are no keys {kind!r}; known are {known}", hint=Remedy.ROTATE_S3_KEYS)


def rotate_s3_keys(
    target: Target,
    environment: Mapping[str, str],
    home: Path,
    note: Callable[[str], None],
    deadline: Deadline,
    progress: Progress,
) -> Created:
    """Find the user's current S3 keys, store them for the server, and prove the server with them.

    The keys are tried before anything is changed. If the server already has them, only finish an interrupted attempt
    and prove the server. After a kill, a repeated call continues.

    Raises:
        UsageError: the server keeps no artifacts in S3.
        VerificationFailed, NotReady: the new keys are stored, but the server is not proven with them.
        DeployerError: no keys were found, or they do not work; nothing was changed.
    """
    record = require_record(target)
    wanted, stored = require_bucket(target, record), require_credentials(target)
    keys = other_keys(target, wanted, stored, environment, home, note)
    try:
        return create(target, record.spec, record, None, deadline, progress, keys)
    except (VerificationFailed, NotReady) as error:
        if not keys:
            raise
        raise type(error)(
            f"the server has the new S3 keys now, but is not proven with them: {error.message}",
            hint="if the keys are the reason, put others where these were found (the old ones, while they hold), and "
            "type the same command again; else type it again as it is",
        ) from None


def require_bucket(target: Target, record: Record) -> S3Artifacts:
    """Return the bucket of a server.

    Raises:
        UsageError: the server keeps no artifacts in S3.
    """
    wanted = record.spec.spec.artifacts
    if not isinstance(wanted, S3Artifacts):
        raise UsageError(f"server {target.name!r} keeps its artifacts on its volume, and has no S3 keys")
    return wanted


def require_credentials(target: Target) -> Secrets:
    """Return the stored secrets of a server.

    Raises:
        Conflict: the server has none yet.
    """
    stored = target.store.secrets()
    if stored is None:
        raise Conflict(f"server {target.name!r} has no credentials yet", hint=Remedy.GO_ON.of(name=target.name))
    return stored
