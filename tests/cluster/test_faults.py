"""Faults of a cluster and mistakes of its users: the message names each cause, and no data is lost."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import pytest

from deployer.kube.lease import SECONDS
from tests.cluster.relay import relay
from tests.cluster.user import User
from tests.testbed.command import CommandFailed

# shorter than an unrenewed lock stays valid: the message must be about the credentials, not the lock
CREDENTIAL_SECONDS = 8.0


def versions(user: User) -> set[str]:
    """Return every object of the namespace with its resourceVersion; equal sets mean that nothing was written."""
    kinds = "deployment,service,ingress,configmap,secret,pvc,networkpolicy,serviceaccount"
    items = json.loads(user.kubectl("get", kinds, "-o", "json"))["items"]
    return {f"{i['kind']}/{i['metadata']['name']}@{i['metadata']['resourceVersion']}" for i in items}


def spec_file(user: User, **spec: Any) -> str:
    """Write a spec without a public address and with these fields; return its path."""
    path = user.home / "server.json"
    wanted = {"exposure": {"type": "none"}, **spec}
    path.write_text(
        json.dumps(
            {"apiVersion": "mlflow-deployer.github.io/v1alpha1", "kind": "MLflowServer", "spec": wanted},
        )
    )
    return str(path)


def patched(**pod: Any) -> dict[str, Any]:
    """Return a spec that patches the server's pod with these fields."""
    return {"patches": [{"kind": "Deployment", "patch": {"spec": {"template": {"spec": pod}}}}]}


def resources(**amounts: str) -> dict[str, Any]:
    return {"requests": amounts, "limits": amounts}


@pytest.fixture
def shared(shared_user: User) -> User:
    """A user with a proven, running server without a public address."""
    shared_user.create("mlflow", "--expose", "none", host=False)
    return shared_user


def test_a_missing_kubeconfig_is_reported(user: User) -> None:
    user.kubeconfig = user.home / "nowhere"
    assert "no kubeconfig names a cluster" in user.run("create", "--target", "kubernetes", code=2).stderr


def test_an_unknown_context_is_named_with_the_known_contexts(user: User) -> None:
    refused = user.run("create", "--context", "elsewhere", code=2).stderr
    assert "no context 'elsewhere'; it knows: " in refused


def test_an_unreachable_cluster_is_an_error_and_never_a_local_server(user: User) -> None:
    text = user.kubeconfig.read_text()
    broken = user.home / "unreachable"
    broken.write_text(text.replace(user.bed.api_server, "https://127.0.0.1:9"))
    user.kubeconfig = broken
    refused = user.run("create", *("--host", user.host()), code=1).stderr
    assert "https://127.0.0.1:9 does not answer: Connection refused" in refused
    assert user.processes() == []


def test_expired_credentials_are_named_and_fresh_credentials_work(user: User) -> None:
    user.bed.user(user.name, user.namespace, seconds=1)
    time.sleep(2)
    assert "does not accept your credentials (401)" in user.run("status", code=4).stderr
    user.bed.user(user.name, user.namespace)
    assert user.json("list") == []


def test_credentials_that_expire_in_mid_command_lose_nothing(user: User) -> None:
    user.bed.user(user.name, user.namespace, seconds=CREDENTIAL_SECONDS)
    over = time.monotonic() + CREDENTIAL_SECONDS + 1
    process = user.popen("create", "--host", user.host(), "--ingress-namespace", "ingress")
    assert process.stderr
    assert any("start ..." in line for line in process.stderr)
    os.killpg(process.pid, signal.SIGSTOP)
    time.sleep(max(0.0, over - time.monotonic()))
    os.killpg(process.pid, signal.SIGCONT)
    _, refused = process.communicate(timeout=120)
    assert process.returncode == 4
    assert "does not accept your credentials (401)" in refused
    user.bed.user(user.name, user.namespace)
    assert user.create()["changed"] is True


def test_a_missing_namespace_is_named(user: User) -> None:
    refused = user.run("create", "--expose", "none", "-n", "nowhere", code=4).stderr
    assert "in namespace 'nowhere'" in refused
    assert "is the namespace right" in refused
    user.kubeconfig = user.bed.admin_kubeconfig
    assert "no namespace 'nowhere'" in user.run("create", "--expose", "none", "-n", "nowhere", code=1).stderr


def test_a_terminating_namespace_is_named(user: User) -> None:
    held = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "held", "finalizers": ["example.org/held"]}}
    user.kubectl("create", "-f", "-", stdin=json.dumps(held))
    user.bed.kubectl("delete", "namespace", user.namespace, "--wait=false")
    try:
        refused = user.run("create", "--expose", "none", "-n", user.namespace, code=5).stderr
        assert f"namespace '{user.namespace}' is being deleted" in refused
    finally:
        user.bed.kubectl(
            *("-n", user.namespace, "patch", "configmap", "held", "--type=merge", "-p"),
            '{"metadata":{"finalizers":null}}',
        )


@pytest.mark.parametrize(
    ("hard", "code", "message"),
    [
        ({"persistentvolumeclaims": "0"}, 4, "the quota of namespace"),
        pytest.param(
            {"requests.storage": "1Gi"},
            4,
            "exceeded quota: small, requested: requests.storage=10Gi",
            marks=pytest.mark.full_scale,
        ),
        ({"pods": "0"}, 3, "the cluster refuses the pods of Deployment mlflow"),
        pytest.param(
            {"limits.memory": "100Mi", "limits.cpu": "4"},
            3,
            "exceeded quota: small, requested: limits.memory=",
            marks=pytest.mark.full_scale,
        ),
    ],
)
def test_a_quota_that_is_too_small_is_named_with_the_cluster_s_message(
    user: User, soak: bool, hard: dict[str, str], code: int, message: str
) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": {"hard": hard}}
    user.bed.kubectl("-n", user.namespace, "apply", "-f", "-", input=json.dumps(quota))
    refused = user.run("create", "--expose", "none", code=code).stderr
    assert message in refused
    assert "Next: " in refused
    user.bed.kubectl("-n", user.namespace, "delete", "resourcequota", "small")
    if soak or "pods" in hard:
        assert user.json("create", "--expose", "none")["changed"] is True


def test_a_missing_default_storage_class_is_named_with_the_option_to_use(user: User) -> None:
    default = "storageclass.kubernetes.io/is-default-class"
    user.bed.kubectl("annotate", "storageclass", "standard-csi", f"{default}-", "--overwrite")
    try:
        refused = user.run("create", "--expose", "none", code=3).stderr
        assert "the cluster has no default storage class" in refused
        assert "--storage-class" in refused
    finally:
        user.bed.kubectl("annotate", "storageclass", "standard-csi", f"{default}=true", "--overwrite")


@pytest.mark.parametrize(
    ("spec", "messages"),
    [
        ({"volume": {"storageClass": "nowhere"}}, ("volume mlflow-data of storage class 'nowhere'",)),
        ({"mlflow": {"image": "ghcr.io/nobody/nothing:1"}}, ("the image ghcr.io/nobody/nothing:1 cannot be pulled",)),
        (
            {"pod": {"nodeSelector": {"example.org/gpu": "yes"}}},
            ("no node takes pod mlflow-", "didn't match Pod's node affinity/selector"),
        ),
        pytest.param(
            patched(containers=[{"name": "server", "resources": resources(cpu="500")}]),
            ("no node takes pod mlflow-", "Insufficient cpu"),
            marks=pytest.mark.full_scale,
        ),
        (
            {"profile": "openshift"},
            ("image will run as root", "the profile is OpenShift's", "no UID range", "--profile kubernetes"),
        ),
        (patched(hostNetwork=True), ("the cluster refuses the pods of Deployment mlflow", "PodSecurity")),
        (
            patched(containers=[{"name": "server", "command": ["sh", "-c", "echo the last words; exit 1"]}]),
            ("container server of pod mlflow-", "ended with code 1", "the last words"),
        ),
        pytest.param(
            patched(containers=[{"name": "server", "resources": resources(memory="64Mi")}]),
            ("container server of pod mlflow-", "needs more memory than its limit"),
            marks=pytest.mark.full_scale,
        ),
    ],
    ids=["unbound", "no-image", "no-node", "node-full", "no-user", "admission", "crash", "memory"],
)
def test_a_failed_pod_start_is_explained_and_repaired_by_the_next_create(
    request: pytest.FixtureRequest, user: User, soak: bool, spec: dict[str, Any], messages: tuple[str, ...]
) -> None:
    refused = user.run("create", "-f", spec_file(user, **spec), code=3).stderr
    for message in messages:
        assert message in refused
    assert user.run("status", code=3).stdout.count(messages[0]) == 1
    if soak or request.node.callspec.id in {"unbound", "crash"}:
        assert user.json("create", "-f", spec_file(user))["changed"] is True


def test_a_full_volume_fails_the_proof_with_a_helpful_message(user: User) -> None:
    user.json("create", "--expose", "none", "--volume-size", "64Mi")
    (pod,) = user.objects("pod")
    user.kubectl("exec", pod.partition("/")[2], "--", "sh", "-c", "cat /dev/zero > /srv/data/artifacts/fill; true")
    refused = user.run("verify", code=1).stderr
    print(refused)
    assert "is there room" in refused
    user.kubectl("exec", pod.partition("/")[2], "--", "rm", "/srv/data/artifacts/fill")
    assert user.run("verify").returncode == 0


def test_a_secret_edited_by_hand_is_named_and_nothing_is_changed(shared: User) -> None:
    good = shared.get("secret", "mlflow-admin")["data"]["current"]
    shared.kubectl("patch", "secret", "mlflow-admin", "-p", '{"stringData":{"current":"edited-by-hand-0"}}')
    before = versions(shared)
    refused = shared.run("create", "mlflow", "--default-permission", "READ", code=5).stderr
    assert f"Secret {shared.namespace}/mlflow-admin (changed by kubectl-patch" in refused
    assert "mlflow-admin" in shared.run("diff", code=6).stdout
    assert versions(shared) == before
    shared.kubectl("patch", "secret", "mlflow-admin", "-p", json.dumps({"data": {"current": good}}))
    assert shared.json("create")["changed"] is False


def test_somebody_else_s_object_of_the_same_name_is_left_alone(user: User) -> None:
    user.kubectl("create", "service", "clusterip", "mlflow", "--tcp=80")
    before = versions(user)
    refused = user.run("create", "--expose", "none", code=5).stderr
    assert "Service/mlflow exists already" in refused
    assert versions(user) == before


def test_create_waits_for_an_api_server_killed_in_mid_command(user: User) -> None:
    process = user.popen("create", "--expose", "none", "-o", "json")
    assert process.stderr
    assert any("start ..." in line for line in process.stderr)
    user.bed.kill("apiserver")
    time.sleep(SECONDS)  # longer than an unrenewed lock stays valid
    user.bed.start("apiserver")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert json.loads(out)["changed"] is True


def test_the_proof_waits_for_a_killed_api_server(user: User) -> None:
    process = user.popen("create", "--expose", "none", "-o", "json")
    assert process.stderr
    assert any("verify ..." in line for line in process.stderr)
    user.bed.kill("apiserver")
    time.sleep(1)
    user.bed.start("apiserver")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert all(check["ok"] for check in json.loads(out)["verified"])


def test_a_patch_with_a_misspelt_field_is_refused_before_anything_is_created(user: User) -> None:
    patch = {"kind": "Service", "patch": {"spec": {"prots": []}}}
    refused = user.run("create", "-f", spec_file(user, patches=[patch]), code=1).stderr
    assert ".spec.prots: field not declared in schema" in refused
    assert "Next: a patch in the spec" in refused
    assert user.objects() == set()


def test_a_429_is_retried_after_the_seconds_of_retry_after(user: User) -> None:
    with relay(user.kubeconfig, refuse_every=3) as (kubeconfig, refused):
        user.kubeconfig = kubeconfig
        assert user.json("create", "--expose", "ingress", "--host", user.host(), "--ingress-namespace", "ingress")
    assert len(refused) > 5
    assert all(again - first >= 1 for first, again in refused), "Retry-After was not honoured"


def test_two_deployers_at_once_end_in_one_server(user: User) -> None:
    both = [user.popen("create", "--expose", "none", "-o", "json") for _ in range(2)]
    done = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], done
    assert any("waiting for create by" in err for _, err in done)
    assert len(user.objects("deployment", "pvc")) == 2
    assert user.objects("lease") == set()
    assert user.run("verify").returncode == 0


def test_the_cause_of_an_unreachable_address_is_named(user: User) -> None:
    refused = user.run("create", "--host", user.host(), "--timeout", "30", code=3).stderr
    assert "spec.networkPolicy.ingressNamespace" in refused
    assert user.create()["changed"] is True
    # this Ingress has no issuer: `verify` does not wait for another certificate
    refused = user.run("verify", code=3, env={"REQUESTS_CA_BUNDLE": certifi.where()}).stderr
    assert f"{certifi.where()}, which REQUESTS_CA_BUNDLE names" in refused
    assert "which wins over CURL_CA_BUNDLE and SSL_CERT_FILE" in refused
    assert "waiting for https" not in refused


def test_a_stranger_reaches_the_pod_only_after_the_policy_is_removed(
    shared: User, stranger: Callable[[User], str]
) -> None:
    pod = stranger(shared)
    ask = (
        "exec",
        pod,
        "--",
        "curl",
        "-s",
        "-m",
        "3",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "http://mlflow:5000/api/2.0/mlflow/users/current",
    )
    with pytest.raises(CommandFailed):
        shared.kubectl(*ask)
    shared.kubectl("delete", "networkpolicy", "mlflow")
    for _ in range(20):  # until the deletion takes effect
        try:
            assert shared.kubectl(*ask) == "401"  # from MLflow: it accepts this host name
        except CommandFailed:
            continue
        return
    pytest.fail("the stranger still cannot connect")


def test_create_on_a_cluster_needs_no_writable_home(user: User) -> None:
    user.run("create", "--expose", "none", "--target", "kubernetes", env={"XDG_STATE_HOME": "/proc", "HOME": "/proc"})
    assert Path(user.kubeconfig).exists()
