"""Other people change a server's objects: deployer reports the changes, and its next command loses no data."""

from __future__ import annotations

import json

import pytest

from tests.cluster.relay import relay
from tests.cluster.user import User

INSIDE = ("--expose", "none")


@pytest.fixture
def shared(shared_user: User) -> User:
    """A user with a proven, running server without a public address."""
    shared_user.create("mlflow", "--expose", "none", host=False)
    return shared_user


def test_additions_by_others_are_drift_and_do_not_block_stop(user: User) -> None:
    user.create("mlflow", *INSIDE, host=False)
    user.kubectl("set", "env", "deployment/mlflow", "NEW=1", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=true")
    user.kubectl("patch", "service", "mlflow", "-p", '{"spec":{"type":"NodePort"}}')
    drifted = user.run("diff", code=6).stdout
    assert 'env[NEW].value: "set by kubectl-set" -> (not set)' in drifted
    assert 'env[MLFLOW_SERVER_ENABLE_JOB_EXECUTION].value: "true" -> "false"' in drifted
    assert 'spec.type: "set by kubectl-patch" -> (not set)' in drifted
    user.run("stop")
    assert user.objects("pod") == set()
    assert "nothing runs" in user.run("stop").stderr


def test_a_paused_deployment_is_named_with_the_field_manager(shared: User) -> None:
    shared.kubectl("rollout", "pause", "deployment/mlflow")
    assert "spec.paused" in shared.run("diff", code=6).stdout
    refused = shared.run("create", "mlflow", "--default-permission", "READ", code=5).stderr
    assert ".spec.paused belongs to" in refused
    shared.run("create", "mlflow", "--force-conflicts")
    assert shared.run("diff").returncode == 0


def test_a_deleted_volume_is_never_replaced_silently(user: User) -> None:
    user.create("mlflow", *INSIDE, host=False)
    user.kubectl("delete", "pvc", "mlflow-data", "--wait=false")
    refused = user.run("create", code=5).stderr
    assert "it goes, with all runs, as soon as no pod uses it" in refused
    user.run("stop")
    assert user.objects("pvc") == set()
    refused = user.run("start", code=5).stderr
    assert "volume mlflow-data is gone, and with it all runs" in refused
    assert user.objects("pvc", "pod") == set()
    user.run("delete", "--delete-data", "--yes")
    assert user.create("mlflow", *INSIDE, host=False)["changed"] is True


def test_a_server_without_its_record_can_be_deleted(user: User) -> None:
    user.create()
    user.kubectl("delete", "configmap", "mlflow-spec")
    user.run("delete", "--delete-data", "--yes")
    assert user.objects() == set()


def test_a_copy_of_a_record_is_no_server(shared: User) -> None:
    copy = shared.get("configmap", "mlflow-spec")
    copy["metadata"] = {"name": "mlflow-spec-backup", "labels": copy["metadata"]["labels"]}
    shared.kubectl("create", "-f", "-", stdin=json.dumps(copy))
    assert [server["name"] for server in shared.json("list")] == ["mlflow"]


def test_the_host_of_another_server_is_refused(user: User) -> None:
    user.create("one")
    refused = user.run("create", "two", "--host", user.host("one"), "--ingress-namespace", "ingress", code=5).stderr
    assert "is that of server 'one'" in refused
    assert not [item for item in user.objects() if "/two" in item and "lock" not in item]


def test_create_ends_when_its_deployment_is_deleted(user: User) -> None:
    process = user.popen("create", *INSIDE)
    assert process.stderr
    assert any("ready ..." in line for line in process.stderr)
    user.kubectl("delete", "deployment", "mlflow")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 5, said
    assert "somebody has deleted Deployment mlflow in the meantime" in said
    assert user.create("mlflow", *INSIDE, host=False)["changed"] is True


def test_an_ingress_class_without_a_controller_is_named(user: User) -> None:
    refused = user.run("create", "--host", user.host(), "--ingress-class", "nobody", "--timeout", "60", code=3).stderr
    assert "no ingress controller serves Ingress mlflow of class 'nobody'" in refused


@pytest.mark.full_scale
def test_a_missing_gateway_is_named(user: User) -> None:
    refused = user.run("create", "--host", user.host(), "--gateway", "ingress/nobody", "--timeout", "60", code=3).stderr
    assert "no controller has accepted the HTTPRoute to Gateway ingress/nobody" in refused


def lease(user: User, holder: str, seconds: int) -> str:
    """Return the manifest of a Lease that `holder` has on the server."""
    labels = user.get("configmap", "mlflow-spec")["metadata"]["labels"]
    made = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "mlflow-lock", "labels": labels},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds},
    }
    return json.dumps(made)


def test_a_create_without_changes_removes_an_abandoned_lease(shared: User) -> None:
    shared.kubectl("create", "-f", "-", stdin=lease(shared, "login7 killed there", 1))
    assert shared.json("create", "--expose", "none")["changed"] is False
    assert shared.objects("lease") == set()


def test_a_lease_released_during_the_conflict_is_acquired(user: User) -> None:
    user.create()
    user.kubectl("create", "-f", "-", stdin=lease(user, "login7 is just done", 600))

    def release(method: str, path: str, status: int) -> None:
        if method == "POST" and "/leases" in path and status == 409:
            user.kubectl("delete", "lease", "mlflow-lock")

    change = ("create", "mlflow", "--default-permission", "READ")  # at a public address: the relay passes no tunnel
    with relay(user.kubeconfig, before_answer=release) as (kubeconfig, _):
        user.run(*change, "--timeout", "60", env={"KUBECONFIG": str(kubeconfig)})
    assert user.objects("lease") == set()
