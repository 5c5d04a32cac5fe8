"""Tries an S3 service with the settings of a server: writes, writes in parts, reads back and deletes."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import boto3
import botocore.session
from botocore import exceptions as failures
from botocore.client import Config
from botocore.parsers import ResponseParserError

from deployer.core.errors import DeployerError, NotFound, UsageError, one_line
from deployer.core.remedies import Hint, Remedy
from deployer.storage.finding import Keys

FOLDER: Final = ".deployer-trial"
_SMALL: Final = 1024
_PART: Final = 5 << 20  # the smallest part size in S3, except for the last part
_SECONDS: Final = 20
_LISTED: Final = 100
_ABSENT: Final = frozenset({"NoSuchBucket", "404", "NotFound"})
_NOTHING_OF_ONE_S_OWN: Final = MappingProxyType(
    {
        "profile": (None, None, None, None),
        "config_file": (None, None, "/dev/null", None),
        "credentials_file": (None, None, "/dev/null", None),
    }
)


class StorageUnreachable(DeployerError):
    """The S3 service does not answer from here."""


class StorageRefused(DeployerError):
    """The S3 service, or a proxy, gives a response that a server cannot work with."""


@dataclass(frozen=True)
class Bucket:
    """The place of the artifacts: `endpoint` is a URL, `prefix` a path in the bucket without outer slashes."""

    endpoint: str
    name: str
    prefix: str = ""
    region: str | None = None


def client(bucket: Bucket, keys: Keys) -> Any:
    """Return an S3 client with a server's settings: path-style addresses, and checksums only if required.

    Ceph-like services refuse the checksums that boto3 adds by default since 1.36, or store them inside the object.
    """
    # ignore ~/.aws: the server does not have it, and it may be damaged
    alone = botocore.session.Session(session_vars=_NOTHING_OF_ONE_S_OWN)
    return boto3.session.Session(botocore_session=alone).client(
        "s3",
        endpoint_url=bucket.endpoint,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        region_name=bucket.region or "us-east-1",
        config=Config(
            s3={"addressing_style": "path"},
            signature_version="s3v4",  # as in MLflow
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=_SECONDS,
            read_timeout=_SECONDS,
            retries={"max_attempts": 2, "mode": "standard"},
        ),
    )


def make_bucket(bucket: Bucket, keys: Keys) -> bool:
    """Create the bucket; return False if it exists already and may be used.

    Services report an existing own bucket differently, so a second request checks the bucket itself.
    """
    with _explained(bucket, keys, "make"):
        s3 = client(bucket, keys)
        try:
            place = {"CreateBucketConfiguration": {"LocationConstraint": bucket.region}} if bucket.region else {}
            s3.create_bucket(Bucket=bucket.name, **place)
        except failures.ClientError as error:
            if _code(error) not in {"BucketAlreadyOwnedByYou", "BucketAlreadyExists"} or not _is_there(s3, bucket):
                raise
            return False
    return True


def _is_there(s3: Any, bucket: Bucket) -> bool:
    try:
        s3.head_bucket(Bucket=bucket.name)
    except failures.ClientError:
        return False
    return True


def _require_there(s3: Any, bucket: Bucket) -> None:
    """Check that the bucket exists, because some services create any missing bucket on a write."""
    try:
        s3.head_bucket(Bucket=bucket.name)
    except failures.ClientError as error:
        if _code(error) in _ABSENT:
            raise  # other errors are ignored: keys that may write may lack the right to this request


def exists(bucket: Bucket, keys: Keys, *, optional: bool) -> bool:
    """Tell whether the bucket exists, from one request that writes nothing.

    Keys that may not list the objects of the bucket count as good: they may be allowed to read and write.

    Raises:
        StorageUnreachable: the service does not answer from here; a server elsewhere may reach it.
        NotFound: the bucket does not exist, and is not `optional`.
        StorageRefused: the service does not accept the keys.
    """
    with _explained(bucket, keys, "find"):
        try:
            client(bucket, keys).list_objects_v2(Bucket=bucket.name, MaxKeys=1)
        except failures.ClientError as error:
            if optional and _code(error) in _ABSENT:
                return False
            if _code(error) != "AccessDenied":
                raise
    return True


def try_out(bucket: Bucket, keys: Keys) -> None:
    """Write an object in one request and another in parts, read both back, and delete both.

    Raises:
        StorageUnreachable: the service does not answer from here; a server elsewhere may reach it.
        NotFound: the bucket does not exist.
        StorageRefused: another operation fails; the message says which and why.
    """
    with _explained(bucket, keys, "find"):
        s3 = client(bucket, keys)
        _require_there(s3, bucket)
    folder = "/".join(filter(None, (bucket.prefix, FOLDER, secrets.token_hex(8))))
    small, large = secrets.token_bytes(_SMALL), secrets.token_bytes(_PART + _SMALL)
    try:
        with _explained(bucket, keys, "write an object in"):
            s3.put_object(Bucket=bucket.name, Key=f"{folder}/small", Body=small)
        with _explained(bucket, keys, "write an object in parts in"):
            _put_in_parts(s3, bucket.name, f"{folder}/large", large)
        for name, content in (("small", small), ("large", large)):
            with _explained(bucket, keys, "read an object in"):
                found = s3.get_object(Bucket=bucket.name, Key=f"{folder}/{name}")["Body"].read()
            if hashlib.sha256(found).digest() != hashlib.sha256(content).digest():
                raise StorageRefused(
                    f"{bucket.endpoint} gives back {len(found)} bytes other than the {len(content)} written",
                    hint="does something between here and there change them? this service cannot keep artifacts",
                )
            with _explained(bucket, keys, "delete an object in"):
                s3.delete_object(Bucket=bucket.name, Key=f"{folder}/{name}")
    except BaseException:
        _remove(s3, bucket.name, folder)
        raise


def require_old_objects(bucket: Bucket, keys: Keys) -> None:
    """Read the first byte of an existing object, if there is one: other keys may only be able to write new objects.

    Raises:
        StorageRefused: the keys may not list or read existing objects.
    """
    with _explained(bucket, keys, "list the objects in"):
        s3 = client(bucket, keys)
        prefix = f"{bucket.prefix}/" if bucket.prefix else ""
        found = s3.list_objects_v2(Bucket=bucket.name, Prefix=prefix, MaxKeys=_LISTED).get("Contents", ())
    names = [str(item["Key"]) for item in found if item["Size"] and f"{FOLDER}/" not in item["Key"]]
    for name in names[:1]:
        with _explained(bucket, keys, "read an object that is already in"):
            s3.get_object(Bucket=bucket.name, Key=name, Range="bytes=0-0")["Body"].read()


def _put_in_parts(s3: Any, bucket: str, key: str, content: bytes) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    try:
        parts = []
        for number, begin in enumerate(range(0, len(content), _PART), 1):
            part = content[begin : begin + _PART]
            answer = s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=part)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        s3.complete_multipart_upload(Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})
    except BaseException:
        _quietly(lambda: s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload))
        raise


def _remove(s3: Any, bucket: str, folder: str) -> None:
    for name in ("small", "large"):
        _quietly(partial(s3.delete_object, Bucket=bucket, Key=f"{folder}/{name}"))


def _quietly(clean_up: Callable[[], object]) -> None:
    with suppress(failures.BotoCoreError, failures.ClientError):  # the caller reports the earlier error
        clean_up()


# the error codes of S3 (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html); Ceph and others use the same
_MEANINGS: Final[Mapping[str, tuple[str, Hint]]] = MappingProxyType(
    {
        "InvalidAccessKeyId": ("the service does not know this access key", "are the keys for this service?"),
        "SignatureDoesNotMatch": (
            "the secret key does not belong to the access key",
            "was it copied whole? for Allas `allas-conf -m S3` writes both anew",
        ),
        "ExpiredToken": ("the keys have expired", "get new ones; a server needs some that stay valid"),
        "TokenRefreshRequired": ("the keys have expired", "get new ones; a server needs some that stay valid"),
        "RequestTimeTooSkewed": (
            "this machine's clock is wrong by more than the 15 minutes that S3 allows",
            "set the clock (timedatectl), then type the same command",
        ),
        "AuthorizationHeaderMalformed": ("the region is wrong", Remedy.NAME_REGION),
        "PermanentRedirect": ("the bucket is in another region", Remedy.NAME_REGION),
        "IllegalLocationConstraintException": ("the region is wrong", Remedy.NAME_REGION),
        "InvalidLocationConstraint": ("the service has no such region", Remedy.NAME_REGION_OR_NONE),
        "BucketAlreadyExists": (
            "somebody else has a bucket of that name, and names are global",
            Remedy.CHOOSE_BUCKET,
        ),
        "AccessDenied": ("the keys do not allow it", "ask who owns the bucket, or use keys of its owner"),
        "QuotaExceeded": ("the quota of the storage is used up", "ask for more, or delete something"),
        "XAmzContentSHA256Mismatch": ("the bytes were changed on the way", "is a proxy in between?"),
    }
)


@contextmanager
def _explained(bucket: Bucket, keys: Keys, doing: str) -> Iterator[None]:
    """Turn an exception of boto3 into one message: what failed, where, with which keys, why, and what to do next."""
    where = f"cannot {doing} bucket {bucket.name!r} at {bucket.endpoint} with the keys from {keys.source}"
    try:
        yield
    except failures.ClientError as error:
        raise _refusal(error, where, keys) from None
    except failures.SSLError as error:
        raise StorageRefused(
            f"{where}: its certificate is not trusted ({_words(error)})",
            hint="for a private authority set AWS_CA_BUNDLE to its certificate; a server on a cluster needs "
            "spec.pod.trustedCa too",
        ) from None
    except (failures.ConnectionError, failures.HTTPClientError) as error:
        raise StorageUnreachable(
            f"{where}: it cannot be reached from here ({_words(error)})", hint=Remedy.CHECK_ENDPOINT
        ) from None
    except (ResponseParserError, KeyError):
        raise StorageRefused(f"{where}: what answers there is no S3 service", hint=Remedy.CHECK_ENDPOINT) from None
    except (failures.BotoCoreError, ValueError) as error:
        raise UsageError(f"{where}: {_words(error)}", hint="are bucket, endpoint and region right?") from None


def _refusal(error: failures.ClientError, where: str, keys: Keys) -> DeployerError:
    code, status = _code(error), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    said = one_line(f"{code}: {error.response.get('Error', {}).get('Message') or ''}").strip(": ")
    if code in _ABSENT:
        return NotFound(f"{where}: there is no such bucket (HTTP {status}, {said})", hint=Remedy.MAKE_BUCKET)
    meaning, hint = _MEANINGS.get(code, ("", "see what the service's documentation says of this answer"))
    if not meaning and status == 403:
        meaning, hint = _MEANINGS["AccessDenied"]
    if hint in (Remedy.NAME_REGION, Remedy.NAME_REGION_OR_NONE):
        told = error.response.get("Error", {}).get("Region")
        if told:
            hint = Remedy.NAME_THAT_REGION.of(region=one_line(str(told)))
        elif keys.region:
            hint = Remedy.NAME_FOUND_REGION.of(region=keys.region, source=keys.source)
    return StorageRefused(f"{where}: {meaning or 'the service refuses it'} (HTTP {status}, {said})", hint=hint)


def _code(error: failures.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _words(error: BaseException) -> str:
    inner: BaseException = error
    while isinstance(inner.__cause__ or inner.__context__, BaseException):
        inner = inner.__cause__ or inner.__context__ or inner
    return one_line(getattr(inner, "strerror", None) or str(inner).rpartition(": ")[2] or type(inner).__name__)
