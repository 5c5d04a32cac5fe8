"""A server in a project of OpenShift with Rahti's settings: router, limits and allow-lists."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import browser
from tests.cluster.test_lifecycle import TRAINING, persisted
from tests.cluster.test_rights import judged, rights_used, rules
from tests.cluster.user import User
from tests.support.machine import watched
from tests.testbed.cluster import Cluster
from tests.testbed.command import wait_until

NOBODY = "192.0.2.0/24"  # reserved for documentation: no client has such an address
LISTS = ("haproxy.router.openshift.io/ip_allowlist", "haproxy.router.openshift.io/ip_whitelist")


@pytest.fixture
def member(project: str, new_user: Callable[..., User]) -> User:
    """An ordinary admin of a project."""
    return new_user(namespace=project)


@pytest.fixture(scope="module")
def served(openshift: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[User, Any]]:
    """Yield a project's admin who ran `deployer create` without options, and the JSON of the command."""
    with openshift.project() as name:
        file = openshift.user("served", name)
        home = tmp_path_factory.mktemp("served")
        user = User(home, cluster=openshift, kubeconfig=file, namespace=name, name="served")
        with watched([user]):
            yield user, user.json("create")


def reached(user: User, address: str, source: str | None = None) -> bool:
    """Tell whether a client gets a response; `source` is one of this machine's addresses."""
    command = ["curl", "--silent", "--cacert", str(user.bed.ca_file), "--max-time", "10", f"{address}/health"]
    command += ["--interface", source] if source else []
    return subprocess.run(user.bed.in_network(command), capture_output=True, check=False).stdout == b"OK"


def test_create_without_options_is_enough_in_a_project(served: tuple[User, Any], client_python: str) -> None:
    member, created = served
    assert created["address"] == f"https://mlflow-{member.namespace}.{member.bed.routes_domain}"
    assert [check["ok"] for check in created["verified"]] == [True] * 9
    assert member.client(client_python, TRAINING).stdout.strip().endswith("all done")
    uid = member.kubectl("exec", "deployment/mlflow", "--", "id", "-u").strip()
    namespace = json.loads(member.bed.kubectl("get", "namespace", member.namespace, "-o", "json"))
    first, _, size = namespace["metadata"]["annotations"]["openshift.io/sa.scc.uid-range"].partition("/")
    assert int(first) <= int(uid) < int(first) + int(size)
    since = datetime.datetime.now(datetime.UTC)
    assert member.json("create")["changed"] is False
    assert member.run("diff").returncode == 0
    assert persisted(member.bed.audit(user=member.name, since=since)) == []


def test_the_rahti_profile_meets_rahti_s_limits_and_storage_class(member: User) -> None:
    created = member.json("create", "--profile", "rahti")
    assert all(check["ok"] for check in created["verified"])
    assert member.get("pvc", "mlflow-data")["spec"]["storageClassName"] == "standard-csi"
    member.run("delete", "--delete-data", "--yes")
    assert member.objects("deployment", "route", "pvc", "service") == set()


def test_a_policy_that_blocks_the_router_is_named_and_reverted(served: tuple[User, Any]) -> None:
    member, created = served
    address = created["address"]
    assert reached(member, address)
    labels = '{"spec":{"ingress":[{"from":[{"podSelector":{"matchLabels":{"a":"b"}}}]}]}}'
    member.kubectl("patch", "networkpolicy", "mlflow", "--type=merge", "-p", labels)
    wait_until(lambda: not reached(member, address), "the policy to be in force", 30)
    refused = member.run("verify", "--timeout", "15", code=3).stderr
    assert "its address is not" in refused
    assert "NetworkPolicy" in refused
    member.run("create", "--take-over")
    assert reached(member, address)


def test_a_route_without_admission_fails_the_proof(member: User, openshift: Cluster) -> None:
    host = f"mine-{member.namespace}.{openshift.routes_domain}"
    member.run("create", "--host", host)
    member.kubectl("delete", "route", "mlflow")
    wait_until(lambda: not reached(member, f"https://{host}"), "the router to let go of it", 30)
    assert "its Route is gone" in member.run("verify", "--timeout", "10", code=3).stderr
    older = {
        "apiVersion": "route.openshift.io/v1",
        "kind": "Route",
        "metadata": {"name": "older"},
        "spec": {"host": host, "to": {"kind": "Service", "name": "nobody"}},
    }
    member.kubectl("create", "-f", "-", stdin=json.dumps(older))
    member.kubectl("wait", "route/older", "--for=jsonpath={.status.ingress[0].host}", "--timeout=30s")
    assert "HostAlreadyClaimed" in member.run("create", code=5).stderr
    refused = member.run("verify", "--timeout", "10", code=3).stderr
    assert "HostAlreadyClaimed" in refused
    assert "choose another with --host" in refused
    member.kubectl("delete", "route", "older")
    assert all(check["ok"] for check in member.json("create")["verified"])


LOGGING = f"""
import mlflow
mlflow.set_experiment("{browser.EXPERIMENT}")
with mlflow.start_run(run_name="seen-by-a-browser") as run:
    mlflow.log_metric("loss", 0.25)
print(run.info.experiment_id)
"""


def test_a_browser_logs_in_through_the_router_and_sees_the_run_of_a_plain_client(
    served: tuple[User, Any], client_python: str, tmp_path: Path
) -> None:
    member, created = served
    experiment = member.client(client_python, LOGGING).stdout.split()[-1]
    browser.prepare(member.home, member.bed.ca_file)
    login = {
        "MLFLOW_TRACKING_USERNAME": "admin",
        "MLFLOW_TRACKING_PASSWORD": member.run("show-password").stdout.strip(),
    }
    command = [
        sys.executable,
        "-m",
        "tests.cluster.browser",
        created["address"],
        experiment,
        "seen-by-a-browser",
        str(tmp_path),
    ]
    seen = subprocess.run(
        member.bed.in_network(command),
        env={"PATH": os.environ["PATH"], "HOME": str(member.home), **login},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert seen.returncode == 0, seen.stderr
    assert seen.stdout.splitlines() == ["stranger ERR_INVALID_AUTH_CREDENTIALS", "member 200", "seen seen-by-a-browser"]
    assert all((tmp_path / picture).stat().st_size > 10_000 for picture in ("home.png", "run.png"))


def test_an_allow_list_admits_exactly_its_networks(member: User) -> None:
    mine, other = member.bed.client_addresses
    created = member.json("create", "mlflow", "--allow-from", f"{mine},{NOBODY}")
    assert reached(member, created["address"], mine)
    assert not reached(member, created["address"], other)
    # `create` waits for the router's reload: the new list is in force
    narrowed = member.run("create", "mlflow", "--allow-from", NOBODY)
    assert not reached(member, created["address"], mine)
    assert "this machine is none of those that may connect" in narrowed.stderr
    assert "the address itself is not proven" in member.run("verify").stderr
    annotations = member.get("route", "mlflow")["metadata"]["annotations"]
    assert {key: value for key, value in annotations.items() if "list" in key} == dict.fromkeys(LISTS, NOBODY)
    assert member.json("create")["changed"] is False
    widened = member.run("create", "mlflow", "--allow-from", f"{mine},{other}")
    assert "none of those" not in widened.stderr
    assert reached(member, created["address"], mine)
    kept = member.run("create", "mlflow", "--allow-from", mine)
    assert "it cannot see the router take the change over" in kept.stderr
    assert reached(member, created["address"], mine)
    assert not reached(member, created["address"], other)


def test_somebody_else_s_allow_list_is_named_and_removed_only_with_force_conflicts(served: tuple[User, Any]) -> None:
    member, created = served
    key = LISTS[0]
    member.kubectl("annotate", "route", "mlflow", f"{key}={NOBODY}")
    wait_until(lambda: not reached(member, created["address"]), "the list to be in force", 30)
    assert f'{key}: "{NOBODY}" -> (not set)' in member.run("diff", code=6).stdout
    refused = member.run("create", code=5).stderr
    assert f"somebody else has set on Route/mlflow who may connect ({key}: '{NOBODY}')" in refused
    assert member.json("create", "--force-conflicts")["changed"] is True
    assert key not in member.get("route", "mlflow")["metadata"]["annotations"]
    assert reached(member, created["address"])
    assert member.run("diff").returncode == 0


def test_the_route_makes_the_router_append_the_client_s_address(served: tuple[User, Any]) -> None:
    member, _ = served
    key = "haproxy.router.openshift.io/set-forwarded-headers"
    assert member.get("route", "mlflow")["metadata"]["annotations"][key] == "append"
    member.kubectl("annotate", "--overwrite", "route", "mlflow", f"{key}=never")
    assert f'{key}: "never" -> "append"' in member.run("diff", code=6).stdout
    assert key in member.run("create", code=5).stderr
    member.run("create", "--force-conflicts")
    assert member.get("route", "mlflow")["metadata"]["annotations"][key] == "append"


def test_a_change_of_profile_names_the_flags_that_replace_the_route(served: tuple[User, Any]) -> None:
    member, _ = served
    member.run("create", "--allow-everyone")  # stores the exposure `route`, so far the default of the profile
    assert member.run("diff").returncode == 0
    refused = member.run("create", "--profile", "kubernetes", code=2).stderr
    assert "kubernetes has no route" in refused
    assert "add --expose ingress --host HOST" in refused


def test_a_name_too_long_for_the_host_is_refused_before_anything_is_created(member: User) -> None:
    refused = member.run("create", "m" * 53, code=2).stderr
    assert f"{'m' * 53}-{member.namespace}.DOMAIN" in refused
    assert "--host" in refused
    assert f"at most {62 - len(member.namespace)} characters" in refused
    assert member.objects() == set()


@pytest.mark.parametrize("wrong", ["10.0.0.0/8 ", "10.0.0.0/0.0.0.255", "010.0.0.0/8", "::ffff:10.0.0.1", "0.0.0.0/0"])
def test_an_allow_list_that_would_admit_everybody_is_refused(member: User, wrong: str) -> None:
    assert "Error: --allow-from" in member.run("create", "mlflow", "--allow-from", wrong, code=2).stderr
    assert member.objects() == set()


def test_a_claimed_host_is_explained_and_another_host_works(
    member: User, openshift: Cluster, new_user: Callable[..., User]
) -> None:
    host = f"taken-{member.namespace}.{openshift.routes_domain}"
    with openshift.project() as elsewhere:
        older = new_user(namespace=elsewhere)
        route = {
            "apiVersion": "route.openshift.io/v1",
            "kind": "Route",
            "metadata": {"name": "older"},
            "spec": {"host": host, "to": {"kind": "Service", "name": "nobody"}},
        }
        older.kubectl("create", "-f", "-", stdin=json.dumps(route))
        older.kubectl("wait", "route/older", "--for=jsonpath={.status.ingress[0].host}", "--timeout=30s")
        refused = member.run("create", "--host", host, code=5).stderr
        assert "HostAlreadyClaimed" in refused
        assert "choose another with --host" in refused
        created = member.json("create", "mlflow", "--host", f"free-{member.namespace}.{openshift.routes_domain}")
    assert all(check["ok"] for check in created["verified"])


def test_create_project_makes_a_project_with_its_csc_project(openshift: Cluster, new_user: Callable[..., User]) -> None:
    with openshift.namespace() as own:  # the kubeconfig's namespace; the user has no rights there
        user = new_user(namespace=own, rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}])
        name = f"{own}-lab"
        assert "add --csc-project" in user.run("create", "-n", name, "--create-project", code=1).stderr
        try:
            again = ("create", "-n", name, "--create-project", "--csc-project", "2001234")
            created = user.json(*again, "--profile", "rahti")
            assert all(check["ok"] for check in created["verified"])
            assert "is there already, and yours" in user.run(*again).stderr
            project = json.loads(openshift.kubectl("get", "namespace", name, "-o", "json"))
            assert project["metadata"]["annotations"]["openshift.io/description"] == "csc_project: 2001234"
        finally:
            openshift.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


def test_every_missing_right_to_routes_is_named(
    openshift: Cluster, member: User, new_user: Callable[..., User]
) -> None:
    """test_rights.py does the same for all other rights, on a cluster without Routes."""
    tried = set()
    for before, command in ((None, ("create",)), (("create",), ("delete",))):
        since = datetime.datetime.now(datetime.UTC)
        member.run(*command)
        used = rights_used(member.bed.audit(user=member.name, since=since), member.namespace)
        for right in sorted(right for right in used - tried if right[1] == "route.openshift.io"):
            if before:
                member.run(*before)
                poor = new_user(rules=rules(used - {right}), namespace=member.namespace)
                done = poor.run(*command, code=None)
            else:
                with openshift.project() as elsewhere:
                    poor = new_user(rules=rules(used - {right}), namespace=elsewhere)
                    done = poor.run(*command, code=None)
            assert judged(right, done.returncode, done.stderr) == []
        tried |= used
    verbs = {verb for verb, group, resource in tried if (group, resource) == ("route.openshift.io", "routes")}
    assert verbs == {"get", "create", "patch", "delete"}


def test_the_router_of_the_testbed_reloads_at_most_every_five_seconds(member: User, openshift: Cluster) -> None:
    """OpenShift's router does the same, so the tests above show what users get."""
    log = ("logs", "deployment/router-default", "--namespace=openshift-ingress")

    def reloads() -> int:
        return openshift.kubectl(*log).splitlines().count("reload")

    before, began = reloads(), time.monotonic()
    for number in range(6):
        name = f"many{number}"
        kind = {"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": name}}
        member.kubectl("create", "-f", "-", stdin=json.dumps({**kind, "spec": {"to": {"name": "nobody"}}}))
        member.kubectl("wait", f"route/{name}", "--for=jsonpath={.status.ingress[0].conditions[0].status}=True")
    # all six Routes are admitted; without the limit there would be six reloads
    assert reloads() - before <= (time.monotonic() - began) // 5 + 1
    wait_until(lambda: reloads() > before, "their reload", 30)
