"""The S3 keys of a server with artifacts in a bucket: finds, tries and returns them; never shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from deployer.core.errors import Conflict
from deployer.core.remedies import Remedy
from deployer.core.secrets.references import S3_ACCESS_KEY, S3_SECRET_KEY, SecretRef
from deployer.core.secrets.values import Secrets
from deployer.core.spec.schema import S3Artifacts, Spec
from deployer.core.stack.record import Record
from deployer.storage.finding import Keys, find, summary
from deployer.targets import Target


def require_same_store(before: Record | None, spec: Spec) -> None:
    """Check that a proven server keeps its artifact store.

    Raises:
        Conflict: the new spec names another artifact store, and the server would not find its artifacts there.
    """
    if before is None or not before.fingerprints:
        return
    old, new = before.spec.spec.artifacts, spec.spec.artifacts
    places = [
        (part.type, *(getattr(part, key, None) for key in ("endpoint", "bucket", "prefix"))) for part in (old, new)
    ]
    if places[0] != places[1]:
        raise Conflict(
            "the server's artifacts stay where they were first stored; deployer does not move them",
            hint=Remedy.KEEP_ARTIFACTS,
        )


def s3_keys(
    target: Target,
    before: Record | None,
    spec: Spec,
    environment: Mapping[str, str],
    home: Path,
    note: Callable[[str], None],
    *,
    make_bucket: bool,
) -> dict[SecretRef, str]:
    """Return the keys for a server that is not proven yet, after a trial; empty if the server uses no S3 or was proven.

    Raises:
        DeployerError: no keys for the service were found, or they do not allow an operation that the server needs.
    """
    wanted = _untried(before, spec)
    if wanted is None:
        return {}
    from deployer.storage import trial  # noqa: PLC0415  # loads boto3

    keys = _found(wanted, environment, home, note)
    bucket = trial.Bucket(wanted.endpoint, wanted.bucket, wanted.prefix or "", wanted.region)
    try:
        if make_bucket and trial.make_bucket(bucket, keys):
            note(f"Made bucket {bucket.name} at {bucket.endpoint}")
        trial.try_out(bucket, keys)
    except trial.StorageUnreachable as error:
        # the service may be reachable only inside the cluster: then the server's proof tests it
        if target.capabilities.shares_network or make_bucket:
            raise
        note(f"Not tried from here: {error.message}")
    return _secrets(keys)


def untried_s3_keys(
    target: Target,
    before: Record | None,
    spec: Spec,
    environment: Mapping[str, str],
    home: Path,
    note: Callable[[str], None],
    *,
    make_bucket: bool,
) -> tuple[dict[SecretRef, str], bool]:
    """Return the same keys as `s3_keys`, and whether the bucket would be made. Writes nothing to the service.

    Raises:
        DeployerError: no keys for the service were found, the service does not accept them, or there is no bucket.
    """
    wanted = _untried(before, spec)
    if wanted is None:
        return {}, False
    keys = _found(wanted, environment, home, note)
    return _secrets(keys), not _exists(target, wanted, keys, note, optional=make_bucket)


def _untried(before: Record | None, spec: Spec) -> S3Artifacts | None:
    """Return the bucket of a server that is not proven yet; None if the server uses no S3 or was proven."""
    wanted = spec.spec.artifacts
    return wanted if isinstance(wanted, S3Artifacts) and not (before is not None and before.fingerprints) else None


def _exists(target: Target, wanted: S3Artifacts, keys: Keys, note: Callable[[str], None], *, optional: bool) -> bool:
    """Tell whether the bucket exists, without a write; True if a service that only a cluster reaches cannot tell."""
    from deployer.storage import trial  # noqa: PLC0415  # loads boto3

    bucket = trial.Bucket(wanted.endpoint, wanted.bucket, wanted.prefix or "", wanted.region)
    try:
        return trial.exists(bucket, keys, optional=optional)
    except trial.StorageUnreachable as error:
        if target.capabilities.shares_network or optional:
            raise
        note(f"Not asked from here: {error.message}")
        return True


def _changed(keys: Keys, stored: Secrets) -> dict[SecretRef, str]:
    """Return the keys as secrets; empty if the server has the same keys already."""
    found = _secrets(keys)
    return {} if all(stored.values.get(ref) == value for ref, value in found.items()) else found


def other_keys(
    target: Target,
    wanted: S3Artifacts,
    stored: Secrets,
    environment: Mapping[str, str],
    home: Path,
    note: Callable[[str], None],
) -> dict[SecretRef, str]:
    """Return the user's current keys after a trial; empty if the server has the same keys already.

    Raises:
        DeployerError: no keys for the service were found, or they do not allow an operation that the server needs.
    """
    from deployer.storage import trial  # noqa: PLC0415  # loads boto3

    keys = _found(wanted, environment, home, note)
    if not (found := _changed(keys, stored)):
        return {}
    bucket = trial.Bucket(wanted.endpoint, wanted.bucket, wanted.prefix or "", wanted.region)
    try:
        trial.try_out(bucket, keys)
        trial.require_old_objects(bucket, keys)
    except trial.StorageUnreachable as error:
        # the service may be reachable only inside the cluster: then the server's proof tests it
        if target.capabilities.shares_network:
            raise
        note(f"Not tried from here: {error.message}")
    return found


def untried_other_keys(
    target: Target,
    wanted: S3Artifacts,
    stored: Secrets,
    environment: Mapping[str, str],
    home: Path,
    note: Callable[[str], None],
) -> dict[SecretRef, str]:
    """Return the same keys as `other_keys`. Writes nothing to the service.

    Raises:
        DeployerError: no keys for the service were found, or the service does not accept them.
    """
    keys = _found(wanted, environment, home, note)
    if not (found := _changed(keys, stored)):
        return {}
    _exists(target, wanted, keys, note, optional=False)
    return found


def found_keys(
    spec: Spec, environment: Mapping[str, str], home: Path, note: Callable[[str], None]
) -> dict[SecretRef, str]:
    """Return the keys that a server of `spec` needs, without a trial."""
    wanted = spec.spec.artifacts
    return _secrets(_found(wanted, environment, home, note)) if isinstance(wanted, S3Artifacts) else {}


def _found(wanted: S3Artifacts, environment: Mapping[str, str], home: Path, note: Callable[[str], None]) -> Keys:
    found = find(environment, home)
    keys = found.for_endpoint(wanted.endpoint)
    for line in summary(found, keys):
        note(line)
    return keys


def _secrets(keys: Keys) -> dict[SecretRef, str]:
    return {S3_ACCESS_KEY: keys.access_key, S3_SECRET_KEY: keys.secret_key}
