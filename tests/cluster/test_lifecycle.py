"""All that a user does with a server, from creation to deletion, on a real cluster."""

from __future__ import annotations

import base64
import datetime
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from deployer.core.spec.versions import DEFAULT_MLFLOW
from tests.cluster.user import User

TRAINING = (Path(__file__).parents[1] / "local" / "training.py").read_text()
READ_ONLY = {"get", "list", "watch"}


def persisted(requests: list[dict[str, object]]) -> list[str]:
    """Return the requests of an audit log that may have changed something: no reads, reviews, dry runs or tunnels."""
    changing = []
    for request in requests:
        verb, uri = str(request["verb"]), str(request["requestURI"])
        if verb in READ_ONLY or "dryRun=All" in uri or "/selfsubject" in uri or "/portforward" in uri:
            continue
        changing.append(f"{verb} {uri}")
    return changing


@pytest.fixture
def shared(shared_user: User) -> User:
    """A user with a proven, running server behind the Ingress."""
    shared_user.create()
    return shared_user


def test_a_namespace_admin_creates_a_verified_server_in_an_empty_namespace(user: User, client_python: str) -> None:
    assert user.objects() == set()
    created = user.create()
    assert created["address"] == f"https://{user.host()}"
    assert [check["ok"] for check in created["verified"]] == [True] * 9
    status = user.json("status")
    assert (status["state"], status["proven"], status["namespace"]) == ("ready", True, user.namespace)
    (listed,) = user.json("list")
    assert listed.items() <= status.items()
    assert status["data"] == "PersistentVolumeClaim mlflow-data (10Gi)"
    assert status["uptimeSeconds"] >= 0
    assert "Application startup complete" in user.run("logs").stdout
    assert user.client(client_python, TRAINING).stdout.strip().endswith("all done")


def test_a_second_create_writes_nothing_and_diff_finds_nothing(shared: User) -> None:
    since = datetime.datetime.now(datetime.UTC)
    again = shared.create()
    assert again["changed"] is False
    assert len(again["verified"]) == 3
    assert shared.run("diff").returncode == 0
    asked = shared.bed.audit(user=shared.name, since=since)
    assert len(asked) > 10
    assert persisted(asked) == []


def test_a_pinned_server_runs_the_proven_image_by_its_digest_until_it_is_unpinned(user: User) -> None:
    def image() -> str:
        return str(user.json("status")["image"])

    created = user.json("create", "mlflow", "--expose", "none", "--pin")
    assert all(check["ok"] for check in created["verified"])
    digest = user.json("status")["imageDigest"]
    assert image() == f"ghcr.io/mlflow/mlflow@{digest}"
    assert user.json("create", "mlflow")["changed"] is False
    assert user.json("create", "mlflow", "--pin")["changed"] is False
    assert user.json("create", "mlflow", "--no-pin")["changed"] is True
    assert image() == f"ghcr.io/mlflow/mlflow:v{DEFAULT_MLFLOW}-full"
    assert user.json("status")["imageDigest"] == digest


def test_a_gateway_can_serve_instead_of_an_ingress(user: User) -> None:
    created = user.create("mlflow", "--gateway", "ingress/shared")
    assert all(check["ok"] for check in created["verified"])
    assert "httproute.gateway.networking.k8s.io/mlflow" in user.objects("httproute")


def test_the_proof_of_a_server_without_an_address_uses_a_tunnel(user: User) -> None:
    created = user.json("create", "mlflow", "--expose", "none")
    assert created["address"] == f"http://mlflow.{user.namespace}.svc:5000"
    assert all(check["ok"] for check in created["verified"])
    assert user.objects("ingress", "httproute") == set()
    assert user.run("verify").returncode == 0
    assert "port-forward svc/mlflow 5000" in user.run("create").stdout
    opening = user.popen("open", env={"BROWSER": "true"})
    assert opening.stdout is not None
    assert requests.get(f"{opening.stdout.readline().strip()}/health", timeout=30).text == "OK"
    os.killpg(opening.pid, signal.SIGINT)
    _, err = opening.communicate(timeout=60)
    assert (opening.returncode, "through a tunnel" in err) == (130, True)


def test_runs_and_artifacts_outlive_delete_and_create(shared: User, client_python: str) -> None:
    created, password = shared.create(), shared.run("show-password").stdout
    write = "import mlflow\nrun = mlflow.start_run(); mlflow.log_text('kept', 'a.txt'); print('id', run.info.run_id)"
    (line,) = [line for line in shared.client(client_python, write).stdout.splitlines() if line.startswith("id ")]
    shared.run("delete")
    assert {item.partition("/")[0] for item in shared.objects()} == {"configmap", "persistentvolumeclaim", "secret"}
    assert shared.json("list")[0]["state"] == "deleted"
    assert shared.create()["address"] == created["address"]
    assert shared.run("show-password").stdout == password
    read = (
        f"import mlflow\nprint(mlflow.artifacts.load_text(mlflow.get_run('{line[3:]}').info.artifact_uri + '/a.txt'))"
    )
    assert shared.client(client_python, read).stdout.splitlines()[-1] == "kept"


def test_delete_with_data_removes_all_our_objects_and_no_others(user: User) -> None:
    user.kubectl("create", "configmap", "mlflow-notes", "--from-literal=a=b")
    user.create()
    there = user.objects()
    assert "add --yes" in user.run("delete", "--delete-data", code=2).stderr
    assert user.objects() == there
    since = datetime.datetime.now(datetime.UTC)
    asked = user.run("delete", "--delete-data", "--yes")
    assert "with all its data" in asked.stdout
    deleted = [
        request["objectRef"]["resource"]
        for request in user.bed.audit(user=user.name, since=since)
        if request["verb"] == "delete"
    ]
    # the policy protects the pods until the last one is gone
    assert deleted.index("deployments") < deleted.index("networkpolicies")
    assert user.objects() == {"configmap/mlflow-notes"}
    assert "no server" in user.run("delete", "--delete-data", "--yes", code=1).stderr


def test_stop_and_start_change_only_the_replicas(shared: User) -> None:
    before = shared.objects("pvc", "secret", "ingress", "service")
    shared.run("stop")
    assert shared.objects("pod") == set()
    assert shared.json("status", code=3)["state"] == "stopped"
    assert shared.run("diff", code=6).stdout == "Deployment/mlflow spec.replicas: 0 -> 1\n"
    shared.run("start")
    assert shared.json("status")["state"] == "ready"
    assert shared.objects("pvc", "secret", "ingress", "service") == before


def test_a_second_laptop_with_the_same_rights_sees_the_same_server(shared: User, tmp_path: Path) -> None:
    created, password = shared.create(), shared.run("show-password").stdout
    other = shared.on_another_laptop(tmp_path / "laptop")
    assert other.json("list") == shared.json("list")
    assert other.run("show-password").stdout == password
    again = other.json("create")
    assert (again["changed"], again["address"]) == (False, created["address"])


def test_servers_that_share_a_namespace_or_a_name_are_independent(shared: User, new_user: Callable[[], User]) -> None:
    elsewhere = new_user()
    passwords = {shared.create(name)["address"]: shared.run("show-password", name).stdout for name in ("mlflow", "two")}
    address = elsewhere.create()["address"]
    passwords[address] = elsewhere.run("show-password").stdout
    assert len(passwords) == len(set(passwords.values())) == 3
    shared.run("delete", "two", "--delete-data", "--yes")
    assert shared.json("status")["state"] == "ready"
    assert elsewhere.run("verify").returncode == 0
    assert not [item for item in shared.objects() if "/two" in item]


def test_a_killed_pod_is_replaced_and_passes_the_proof(shared: User) -> None:
    (pod,) = shared.objects("pod")
    shared.kubectl("delete", pod, "--grace-period=0", "--force")
    shared.kubectl("wait", "--for=jsonpath={.status.unavailableReplicas}=1", "deployment/mlflow", "--timeout=60s")
    waited = shared.run("create", "-o", "json")
    assert "ok ready: " in waited.stderr  # it waits for the new pod
    assert json.loads(waited.stdout)["changed"] is False
    assert shared.run("verify").returncode == 0


def test_a_changed_spec_is_shown_applied_and_pruned(user: User) -> None:
    user.create()
    changed = user.run("create", "mlflow", "--expose", "none")
    assert 'Change: spec.exposure.type: "ingress" -> "none"' in changed.stderr
    assert user.objects("ingress") == set()
    assert user.json("create")["changed"] is False


def test_changes_by_others_are_named_and_reverted_only_with_force_conflicts(shared: User) -> None:
    shared.kubectl("set", "env", "deployment/mlflow", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=true")
    drifted = shared.run("diff", code=6)
    assert 'env[MLFLOW_SERVER_ENABLE_JOB_EXECUTION].value: "true" -> "false"' in drifted.stdout
    refused = shared.run("create", code=5).stderr
    assert "kubectl-set" in refused
    assert "MLFLOW_SERVER_ENABLE_JOB_EXECUTION" in refused
    assert shared.json("create", "--force-conflicts")["changed"] is True
    assert shared.run("diff").returncode == 0


def test_a_deleted_object_is_reported_and_recreated(shared: User) -> None:
    shared.kubectl("delete", "service/mlflow", "networkpolicy/mlflow")
    assert 'Service/mlflow: (not set) -> "there"' in shared.run("diff", code=6).stdout
    assert shared.create()["changed"] is True
    assert shared.run("diff").returncode == 0


def test_kubectl_rollouts_and_label_selectors_work(shared: User) -> None:
    assert "successfully rolled out" in shared.kubectl("rollout", "status", "deployment/mlflow")
    labels = shared.get("deployment", "mlflow")["metadata"]["labels"]
    assert labels["app.kubernetes.io/managed-by"] == "mlflow-deployer"
    assert labels["app.kubernetes.io/instance"] == "mlflow"
    selected = shared.kubectl(
        "get", "all,ingress,pvc,secret,cm", "-l", "app.kubernetes.io/instance=mlflow", "-o", "name"
    )
    assert len(selected.split()) >= 9
    shared.kubectl("rollout", "restart", "deployment/mlflow")
    shared.kubectl("rollout", "status", "deployment/mlflow", "--timeout=120s")
    assert shared.run("verify").returncode == 0
    assert shared.run("diff").returncode == 0


def test_an_idle_pod_needs_at_most_300_mib(user: User) -> None:
    user.create()
    (pod,) = user.objects("pod")
    assert user.bed.pss_mib(pod.partition("/")[2], user.namespace) <= 300


def test_secret_values_appear_only_in_secret_objects(shared: User) -> None:
    printed = json.dumps(shared.create())
    stored = [shared.get("secret", f"mlflow-{part}")["data"] for part in ("admin", "server")]
    values = [value for data in stored for key, value in data.items() if key != "username"]
    assert len(values) == 4
    shown = shared.kubectl("get", "deployment,pod,cm,ingress,pvc,service,events,lease", "-o", "yaml")
    for command in (["create"], ["status"], ["list"], ["logs"], ["verify"], ["env"], ["diff"]):
        done = shared.run(*command)
        printed += done.stdout + done.stderr
    plain = [base64.b64decode(value).decode() for value in values]
    assert not [value for value in (*values, *plain) if value in shown + printed]
