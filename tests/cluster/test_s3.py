"""Artifacts in S3 behind the router and under a project's limits: large files, both ways, and errors of the store."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deployer.storage.finding import Keys
from deployer.storage.trial import Bucket, client, make_bucket
from tests.cluster.user import User
from tests.support.object_store import READER, SECOND, WRITER, ObjectStore, forms, rclone, seaweedfs
from tests.support.servers import free_port
from tests.testbed.cluster import Cluster

UNITS = {"Mi": 1, "Gi": 1024}
ROUND_TRIP = (Path(__file__).parents[1] / "local" / "round_trip.py").read_text()


@pytest.fixture(scope="module")
def store(openshift: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    """S3 on this machine, at an address that local programs and the cluster's pods can reach."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs"), openshift.client_addresses[0]) as running:
        yield running


@pytest.fixture
def member(project: str, new_user: Callable[..., User]) -> User:
    return new_user(namespace=project)


@pytest.fixture
def bucket() -> str:
    return f"team-{secrets.token_hex(4)}"


def options(store: ObjectStore, bucket: str, *more: str) -> tuple[str, ...]:
    return ("mlflow", "--bucket", bucket, "--s3-endpoint", store.endpoint, *more)


def write_keys(member: User, pair: tuple[str, str] = WRITER) -> None:
    """Write the keys to the file that `allas-conf -m S3` uses."""
    folder = member.home / ".aws"
    folder.mkdir(exist_ok=True)
    folder.joinpath("credentials").write_text(
        f"[default]\nAWS_ACCESS_KEY_ID={pair[0]}\nAWS_SECRET_ACCESS_KEY={pair[1]}\n"
    )


def require_no_kill(member: User) -> tuple[float, float]:
    """Assert that no process of the pod was killed; return the pod's memory and its limit in MiB."""
    (pod,) = json.loads(member.kubectl("get", "pods", "-o", "json"))["items"]
    (status,) = pod["status"]["containerStatuses"]
    assert status["restartCount"] == 0
    limit = pod["spec"]["containers"][0]["resources"]["limits"]["memory"]
    control = member.kubectl("exec", pod["metadata"]["name"], "--", "cat", "/sys/fs/cgroup/memory/memory.oom_control")
    assert "oom_kill 0" in control.splitlines()
    return member.bed.pss_mib(pod["metadata"]["name"], member.namespace), float(limit[:-2]) * UNITS[limit[-2:]]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("transfer", ["proxied", "direct"])
def test_large_artifacts_come_back_byte_for_byte_through_the_router(
    member: User, store: ObjectStore, bucket: str, client_python: str, transfer: str, soak: bool
) -> None:
    write_keys(member)
    created = member.json(
        "create", *options(store, bucket, "--make-bucket", "--transfer", transfer, "--profile", "rahti")
    )
    assert [check["ok"] for check in created["verified"]] == [True] * 9
    sizes = [1024, 600 * 1000 * 1000, *([2 * 1000 * 1000 * 1000] if soak else [])]
    script = f"import sys\nsys.argv[1:] = {[str(size) for size in sizes]}\n{ROUND_TRIP}"
    out = member.client(client_python, script).stdout
    assert [line for line in out.splitlines() if line in ("same", "different")] == ["same"] * len(sizes)
    held, limit = require_no_kill(member)
    assert held < limit
    objects = client(Bucket(store.endpoint, bucket), Keys("test", *WRITER)).list_objects_v2(Bucket=bucket)
    assert {item["Size"] for item in objects["Contents"]} >= set(sizes)


def test_a_missing_bucket_is_refused_before_anything_is_created(member: User, store: ObjectStore, bucket: str) -> None:
    write_keys(member)
    refused = member.run("create", *options(store, bucket), code=1).stderr
    assert "there is no such bucket" in refused
    assert "--make-bucket" in refused
    assert member.objects("deployment", "route", "pvc", "service", "secret", "configmap") == set()


def test_read_only_keys_fail_the_proof_and_writing_keys_pass(member: User, store: ObjectStore, bucket: str) -> None:
    write_keys(member)
    member.run("create", *options(store, bucket, "--make-bucket"))

    def exchange(pair: tuple[str, str]) -> None:
        names = ("s3-access-key-id", "s3-secret-access-key")
        data = {key: base64.b64encode(text.encode()).decode() for key, text in zip(names, pair, strict=True)}
        assert set(data) <= set(member.get("secret", "mlflow-server")["data"])
        member.kubectl("patch", "secret", "mlflow-server", "--type=merge", "-p", json.dumps({"data": data}))

    exchange(READER)
    assert "the server cannot store an artifact" in member.run("create", code=1).stderr
    assert "the server cannot store an artifact" in member.run("verify", code=1).stderr
    exchange(WRITER)
    assert all(check["ok"] for check in member.json("create")["verified"])
    assert member.json("create")["changed"] is False


def test_rotated_keys_work_after_the_old_keys_are_withdrawn(
    member: User, openshift: Cluster, bucket: str, tmp_path: Path
) -> None:
    address, port = openshift.client_addresses[0], free_port()
    with rclone(tmp_path, (WRITER, SECOND), port, address) as both:
        write_keys(member)
        member.run("create", *options(both, bucket, "--make-bucket"))
        write_keys(member, SECOND)
        assert "is proven with the new S3 keys" in member.run("rotate-keys", "s3").stdout
    with rclone(tmp_path, (SECOND,), port, address):
        assert all(check["ok"] for check in member.json("verify")["verified"])
        assert member.json("create")["changed"] is False
        write_keys(member, WRITER)
        assert "does not know this access key" in member.run("rotate-keys", "s3", code=1).stderr
        member.run("verify")


def test_direct_transfer_to_an_unreachable_endpoint_is_refused_and_proxied_works(
    member: User, store: ObjectStore, bucket: str
) -> None:
    """The S3 service has a name that only the cluster resolves: the server's pod checks the service instead."""
    make_bucket(Bucket(store.endpoint, bucket), Keys("test", *WRITER))
    address, _, port = store.endpoint.removeprefix("http://").partition(":")
    inside = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s3", "namespace": member.namespace},
            "spec": {"ports": [{"port": int(port)}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "s3",
                "namespace": member.namespace,
                "labels": {"kubernetes.io/service-name": "s3"},
            },
            "addressType": "IPv4",
            "ports": [{"port": int(port)}],
            "endpoints": [{"addresses": [address]}],
        },
    ]
    member.bed.apply(*inside)
    write_keys(member)
    endpoint = ObjectStore(f"http://s3.{member.namespace}.svc:{port}")
    refused = member.run("create", *options(endpoint, bucket, "--transfer", "direct"), code=1).stderr
    assert "Not tried from here" in refused
    assert "sends clients straight to the artifact store, which does not work" in refused
    assert "--transfer proxied" in refused
    created = member.json("create", "mlflow", "--transfer", "proxied")
    assert all(check["ok"] for check in created["verified"])


def test_no_secret_key_appears_in_output_or_objects(member: User, store: ObjectStore, bucket: str) -> None:
    write_keys(member)
    created = member.run("create", *options(store, bucket, "--make-bucket"))
    said = created.stdout + created.stderr
    for command in ("status", "logs", "env", "diff", "verify", "list"):
        done = member.run(command)
        said += done.stdout + done.stderr
    said += member.run("render", "mlflow", "--profile", "rahti").stdout
    kinds = "deployment,replicaset,pod,service,route,configmap,pvc,networkpolicy,events,lease"
    said += member.kubectl("get", kinds, "-o", "yaml")
    hidden = forms(*WRITER)
    assert not [form for form in hidden if form in said]
    kept = member.kubectl("get", "secret", "mlflow-server", "-o", "yaml")
    assert [form for form in hidden if form in kept]  # the search works
