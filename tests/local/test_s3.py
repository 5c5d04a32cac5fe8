"""Artifacts in S3: the keys are found and tried before anything is created; the server then stores artifacts there."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from deployer.core.secrets.references import S3_ACCESS_KEY, S3_SECRET_KEY
from deployer.core.spec.schema import S3Artifacts
from deployer.core.spec.versions import DEFAULT_MLFLOW
from deployer.core.stack.settings import s3_environment
from deployer.storage.finding import Keys
from deployer.storage.trial import Bucket, client
from deployer.tracking.client import Endpoint, Login
from deployer.tracking.verify import verify
from tests.local.minors import ADMIN, CASES, Case, served
from tests.local.test_lifecycle import ROUND_TRIP, in_clean_shell
from tests.support.machine import Machine
from tests.support.object_store import READER, WRITER, ObjectStore, error, forms, objecting, rclone, seaweedfs

INFO = "api/3.0/mlflow/server-info"
UPLOADS = "api/2.0/mlflow-artifacts/mpu/create"
IN_PARTS = {"MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": str(10 * 1000 * 1000)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as running:
        yield running


@pytest.fixture(scope="module")
def other_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with rclone(tmp_path_factory.mktemp("rclone")) as running:
        yield running


@pytest.fixture
def bucket() -> str:
    return f"team-{secrets.token_hex(4)}"


def options(store: ObjectStore, bucket: str, *more: str) -> tuple[str, ...]:
    return ("--target", "local", "--bucket", bucket, "--s3-endpoint", store.endpoint, "--make-bucket", *more)


def with_keys(machine: Machine, store: ObjectStore, pair: tuple[str, str] = WRITER) -> None:
    """Write the keys to the file that allas-conf writes."""
    (machine.home / ".aws").mkdir(exist_ok=True)
    text = f"[default]\nAWS_ACCESS_KEY_ID={pair[0]}\nAWS_SECRET_ACCESS_KEY={pair[1]}\n"
    (machine.home / ".aws" / "credentials").write_text(text)
    (machine.home / ".aws" / "config").write_text(f"[default]\nendpoint_url = {store.endpoint}\n")


@pytest.mark.parametrize("transfer", ["proxied", "direct"])
def test_large_artifacts_come_back_byte_for_byte(
    machine: Machine, store: ObjectStore, bucket: str, client_python: str, transfer: str, soak: bool
) -> None:
    with_keys(machine, store)
    created = machine.json("create", "mlflow", *options(store, bucket, "--transfer", transfer, "--s3-prefix", "a/b"))
    assert [check["ok"] for check in created["verified"]] == [True] * 9
    info = requests.get(f"{created['address']}/{INFO}", timeout=30).json()
    assert {info["multipart_uploads_enabled"], info["multipart_downloads_enabled"]} == {transfer == "direct"}
    # clients send files of 500 MB and more directly to the service in parts; IN_PARTS lowers this size
    sizes, parts = ("1024", str((600 if soak else 60) * 1000 * 1000)), {} if soak else IN_PARTS
    out = in_clean_shell(machine, client_python, str(ROUND_TRIP), *sizes, env=parts)
    assert [line for line in out.splitlines() if line in ("same", "different")] == ["same", "same"]
    assert not list((machine.state / "servers/mlflow/data").glob("artifacts/**/*.bin"))


@pytest.mark.parametrize("transfer", ["proxied", "direct"])
def test_another_s3_service_works(
    machine: Machine, other_store: ObjectStore, bucket: str, client_python: str, transfer: str
) -> None:
    with_keys(machine, other_store)
    created = machine.json("create", "mlflow", *options(other_store, bucket, "--transfer", transfer))
    assert [check["ok"] for check in created["verified"]] == [True] * 9
    out = in_clean_shell(machine, client_python, str(ROUND_TRIP), "1024", str(60 * 1000 * 1000))
    assert [line for line in out.splitlines() if line in ("same", "different")] == ["same", "same"]


# the tests above cover the default version
@pytest.mark.parametrize("transfer", ["proxied", "direct"])
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.version != DEFAULT_MLFLOW], ids=lambda case: case.version
)
def test_each_supported_mlflow_transfers_artifacts_as_configured(
    other_store: ObjectStore, bucket: str, python_of: Callable[[str], str], case: Case, transfer: str, tmp_path: Path
) -> None:
    client(Bucket(other_store.endpoint, bucket), Keys("test", *WRITER)).create_bucket(Bucket=bucket)
    wanted = S3Artifacts(type="s3", bucket=bucket, endpoint=other_store.endpoint, prefix="a/b", transfer=transfer)
    keys = dict(zip((S3_ACCESS_KEY, S3_SECRET_KEY), WRITER, strict=True))
    env = {
        name: "".join(piece if isinstance(piece, str) else keys[piece] for piece in text)
        for name, text in s3_environment(wanted).items()
    }
    with served(case, python_of(case.version), tmp_path, env) as server:
        info = requests.get(f"{server.address}/{INFO}", timeout=60).json()
        assert {info["multipart_uploads_enabled"], info["multipart_downloads_enabled"]} == {transfer == "direct"}
        report = verify(Endpoint(server.address), Login(*ADMIN))
        assert report.ok, report
        assert any("straight to the artifact store" in check.detail for check in report.checks) == (
            transfer == "direct"
        )
        clean = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(tmp_path),
            "MLFLOW_TRACKING_URI": server.address,
            "MLFLOW_TRACKING_USERNAME": ADMIN[0],
            "MLFLOW_TRACKING_PASSWORD": ADMIN[1],
            **IN_PARTS,
        }
        command = [server.python, str(ROUND_TRIP), "1024", str(25 * 1000 * 1000)]
        done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=300, check=False)
        assert [line for line in done.stdout.splitlines() if line in ("same", "different")] == ["same"] * 2, done.stderr
        path = f"{UPLOADS}/{server.experiment('parts')}/run/artifacts"
        counts = (0, -1, 10_001, 9_000_000_000_000_000_000)  # URLs for all these parts would fill the memory
        refused = [server.ask(path, ADMIN, {"path": "x", "num_parts": count}).status_code for count in counts]
        assert refused == [400] * len(counts)
        parts = server.ask(path, ADMIN, {"path": "x", "num_parts": 3}).json()["credentials"]
        assert [part["part_number"] for part in parts] == [1, 2, 3]
    kept = client(Bucket(other_store.endpoint, bucket), Keys("test", *WRITER)).list_objects_v2(Bucket=bucket)
    assert sorted(item["Size"] for item in kept["Contents"]) == [1024, 25 * 1000 * 1000]


def test_verify_reports_a_deleted_bucket(machine: Machine, other_store: ObjectStore, bucket: str) -> None:
    with_keys(machine, other_store)
    machine.run("create", *options(other_store, bucket))
    s3 = client(Bucket(other_store.endpoint, bucket), Keys("test", *WRITER))
    for item in s3.list_objects_v2(Bucket=bucket).get("Contents", ()):
        s3.delete_object(Bucket=bucket, Key=item["Key"])
    s3.delete_bucket(Bucket=bucket)
    refused = machine.run("verify", code=1)
    assert "artifact written: the server cannot store an artifact" in refused.stderr


def test_the_source_of_the_keys_is_named_and_the_keys_are_never_shown(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    with_keys(machine, store)
    (machine.home / ".s3cfg").write_text(f"[default]\naccess_key = {READER[0]}\nsecret_key = {READER[1]}\n")
    created = machine.run("create", *options(store, bucket))
    assert "S3 keys from ~/.aws/credentials [default]" in created.stderr
    assert "not used: ~/.s3cfg" in created.stderr
    printed = created.stdout + created.stderr
    for command in (["create"], ["status"], ["logs"], ["env"], ["diff"], ["render"], ["verify"]):
        done = machine.run(*command)
        printed += done.stdout + done.stderr
    kept = (machine.state / "servers/mlflow/record.json").read_text()
    hidden = forms(*WRITER, *READER)
    assert not [form for form in hidden if form in printed + kept]
    # the search must find the keys where they are stored
    assert [form for form in hidden if form in (machine.state / "servers/mlflow/secrets.json").read_text()]
    deleted = machine.run("delete", "--delete-data", "--yes").stdout
    assert f"Its artifacts stay in bucket '{bucket}'" in deleted


def test_keys_without_write_permission_are_refused_before_anything_is_created(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    client(Bucket(store.endpoint, bucket), Keys("test", *WRITER)).create_bucket(Bucket=bucket)
    with_keys(machine, store, READER)
    refused = machine.run("create", *options(store, bucket)[:-1], code=1).stderr
    assert "cannot write an object in bucket" in refused
    assert "the keys do not allow it" in refused
    assert machine.json("list") == []
    with_keys(machine, store)
    assert machine.json("create", *options(store, bucket))["changed"] is True


def test_create_without_keys_says_what_to_do(machine: Machine, store: ObjectStore, bucket: str) -> None:
    refused = machine.here("create", *options(store, bucket), code=1).stderr
    assert f"no S3 keys for {store.endpoint}" in refused
    assert "allas-conf -m S3" in refused


REFUSALS = {
    "InvalidAccessKeyId": (403, "does not know this access key"),
    "SignatureDoesNotMatch": (403, "does not belong to the access key"),
    "AccessDenied": (403, "the keys do not allow it"),
    "ExpiredToken": (400, "the keys have expired"),
    "RequestTimeTooSkewed": (403, "clock is wrong"),
    "AuthorizationHeaderMalformed": (400, "the region is wrong"),
    "PermanentRedirect": (301, "in another region"),
    "NoSuchBucket": (404, "there is no such bucket"),
    "QuotaExceeded": (403, "is used up"),
    "SlowDown": (503, "the service refuses it"),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_each_refusal_has_a_specific_message(machine: Machine, store: ObjectStore, bucket: str, code: str) -> None:
    status, words = REFUSALS[code]
    answers = {"HEAD": (200, {}, b""), "PUT": (status, {}, error(code))}
    with objecting(store, lambda method, _: answers.get(method)) as endpoint:
        refusing = ObjectStore(endpoint)
        with_keys(machine, refusing)
        refused = machine.here("create", *options(refusing, bucket)[:-1], code=1).stderr
    assert words in refused
    assert code in refused
    assert not list((machine.state / "servers").glob("[!.]*"))


def test_a_service_without_support_for_the_new_checksums_works(
    machine: Machine, store: ObjectStore, bucket: str
) -> None:
    refused: list[str] = []

    def object_to_checksums(method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes] | None:
        found = [key for key in headers if key.startswith(("x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer"))]
        if found or "STREAMING" in headers.get("x-amz-content-sha256", ""):
            refused.extend(found)
            return 400, {}, error("XAmzContentChecksumMismatch")
        return None

    with objecting(store, object_to_checksums) as endpoint:
        old = ObjectStore(endpoint)
        with_keys(machine, old)
        created = machine.json("create", "mlflow", *options(old, bucket))
        assert all(check["ok"] for check in created["verified"])
    assert refused == []


def test_altered_bytes_are_reported(machine: Machine, store: ObjectStore, bucket: str) -> None:
    def alter(method: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes] | None:
        return (200, {"ETag": '"a"'}, b"something else") if method == "GET" else None

    with objecting(store, alter) as endpoint:
        altering = ObjectStore(endpoint)
        with_keys(machine, altering)
        assert "gives back 14 bytes other than" in machine.here("create", *options(altering, bucket), code=1).stderr


def test_an_unreachable_endpoint_is_reported(machine: Machine, bucket: str) -> None:
    nowhere = ObjectStore("http://127.0.0.1:9")
    with_keys(machine, nowhere)
    failed = machine.here("create", *options(nowhere, bucket)[:-1], code=1).stderr
    assert "it cannot be reached from here" in failed
    assert "--s3-endpoint" in failed
    assert not list((machine.state / "servers").glob("[!.]*"))


@pytest.mark.parametrize(
    "endpoint", ["a3s.fi", "ftp://a3s.fi", "https://me:secret-canary@a3s.fi", "https://a3s.fi/bucket", "https://", " "]
)
def test_an_invalid_endpoint_is_refused_and_not_printed(machine: Machine, endpoint: str) -> None:
    refused = machine.here("create", "--target", "local", "--bucket", "abc", "--s3-endpoint", endpoint, code=2).stderr
    assert "Error: --s3-endpoint: " in refused
    assert "canary" not in refused


@pytest.fixture(scope="module")
def kept_bucket() -> str:
    """The bucket of the server of `keeper`."""
    return f"kept-{secrets.token_hex(4)}"


@pytest.fixture
def keeper(shared_machine: Machine, store: ObjectStore, kept_bucket: str) -> Machine:
    """One user for several tests, with a proven server that stores its artifacts in `kept_bucket`."""
    with_keys(shared_machine, store)
    shared_machine.run("create", *options(store, kept_bucket))
    return shared_machine


def test_another_bucket_is_refused_once_artifacts_exist(keeper: Machine, kept_bucket: str) -> None:
    refused = keeper.run("create", "mlflow", "--bucket", f"{kept_bucket}-2", code=5).stderr
    assert "deployer does not move them" in refused
    record = json.loads(Path(keeper.state / "servers/mlflow/record.json").read_text())
    assert record["spec"]["spec"]["artifacts"]["bucket"] == kept_bucket


def test_keys_edited_by_hand_restart_the_server(keeper: Machine) -> None:
    machine = keeper
    kept = machine.state / "servers/mlflow/secrets.json"
    good = kept.read_text()
    kept.write_text(good.replace("TEAM", "READ").replace("team/", "read/"))
    assert "the server cannot store an artifact" in machine.run("create", code=1).stderr
    kept.write_text(good)
    assert all(check["ok"] for check in machine.json("create")["verified"])
    assert machine.json("create")["changed"] is False
