"""`--dry-run` on a cluster: the plan has the steps of the command, and no object is written."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from typing import Any

from tests.cluster.user import User
from tests.testbed.cluster import Cluster

INSIDE = ("create", "--expose", "none")
KINDS = "deployment,replicaset,pod,service,ingress,configmap,secret,pvc,networkpolicy,serviceaccount,lease"
READ_ONLY = [
    {"verbs": ["get", "list", "watch"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["create"], "apiGroups": [""], "resources": ["pods/portforward"]},
]


def versions(user: User) -> dict[str, str]:
    """Return the resourceVersion of each object in the namespace, by kind and name."""
    items = json.loads(user.kubectl("get", KINDS, "-o", "json"))["items"]
    return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["resourceVersion"] for each in items}


def planned(user: User, *command: str) -> Any:
    """Return the plan of a command, and check that the dry run writes nothing."""
    before, since = versions(user), datetime.datetime.now(datetime.UTC)
    plan = user.json(*command, "--dry-run")
    assert versions(user) == before
    for request in user.bed.audit(user=user.name, since=since):
        what = request.get("objectRef") or {}
        if request["verb"] not in ("get", "list", "watch") and what.get("namespace") == user.namespace:
            assert "dryRun=All" in request["requestURI"] or what.get("subresource") == "portforward", request
    assert plan["dryRun"] is True
    return plan


def steps(plan: Any) -> dict[str, bool]:
    return {step["step"]: step["needed"] for step in plan["steps"]}


def executed_steps(user: User, *command: str) -> dict[str, bool]:
    """Run a command; return its steps, each with True if the step had something to do."""
    said = user.run(*command).stderr
    found = re.findall(r"^(?:\[[0-9]/[0-9]\] ([a-z]+) \.\.\.|-- ([a-z]+): .*)$", said, re.M)
    return {needed or done: bool(needed) for needed, done in found}


def paths(plan: Any) -> set[str]:
    return {change["path"] for change in plan["changes"]}


def test_each_plan_lists_the_steps_of_the_command(user: User) -> None:
    plan = planned(user, *INSIDE)
    assert {"Deployment/mlflow", "Service/mlflow", "NetworkPolicy/mlflow", "ConfigMap/mlflow-server"} <= paths(plan)
    assert user.objects() == set()
    assert steps(plan) == executed_steps(user, *INSIDE)
    assert planned(user, "create")["needed"] is False
    for command in (("create", "--workers", "2"), ("rotate-password",), ("stop",), ("start",), ("delete",)):
        plan = planned(user, *command)
        assert plan["needed"]
        if command[-1] == "2":
            assert "spec.workers" in paths(plan)
            assert any(path.startswith("Deployment/mlflow ") for path in paths(plan))
        if command == ("delete",):
            assert {"Deployment/mlflow", "Service/mlflow"} <= paths(plan)
        assert steps(plan) == executed_steps(user, *command), command
    assert planned(user, "delete", "--delete-data")["remarks"]


def test_a_dry_run_refuses_the_same_as_the_command(user: User, new_user: Callable[..., User]) -> None:
    user.kubectl("create", "service", "clusterip", "mlflow", "--tcp=80:80")
    refused = user.run(*INSIDE, "--dry-run", code=5).stderr
    assert "Service/mlflow exists already" in refused
    assert "--force-conflicts" in refused
    assert planned(user, *INSIDE, "--force-conflicts")["needed"]
    user.kubectl("delete", "service", "mlflow")
    reader = new_user(rules=READ_ONLY, namespace=user.namespace)
    assert "you may not" in reader.run(*INSIDE, "--dry-run", code=4).stderr
    user.run(*INSIDE)
    assert "you may not create leases" in reader.run("stop", "--dry-run", code=4).stderr
    assert "you may not create leases" in reader.run("delete", "--dry-run", code=4).stderr
    assert "you may not" in reader.run("create", "--workers", "2", "--dry-run", code=4).stderr


def test_a_dry_run_creates_no_project(openshift: Cluster, new_user: Callable[..., User]) -> None:
    user = new_user()
    name = f"{user.namespace}-new"
    command = ("create", "-n", name, "--create-project", "--csc-project", "2001234", "--dry-run")
    plan = user.json(*command)
    assert plan["steps"][0]["step"] == "project"
    assert set(steps(plan)) == {
        *("project", "environment", "record", "credentials", "address", "start", "ready", "verify")
    }
    assert f"namespace/{name}" not in openshift.kubectl("get", "namespaces", "-o", "name").split()
