"""Images have their production names, and the registry can simulate failures."""

from __future__ import annotations

from tests.cluster.pods import pod, ready, run_in
from tests.testbed.cluster import Cluster
from tests.testbed.command import wait_until
from tests.testbed.images import MLFLOW
from tests.testbed.layers import MLFLOW as VERSION

WAITING = "--output=jsonpath={.status.containerStatuses[0].state.waiting.message}"


def test_mlflow_runs_for_any_user_on_a_read_only_root(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("mlflow", namespace, image=MLFLOW))
    ready(cluster, namespace, "mlflow")
    asked = "import os, mlflow, boto3, psycopg2; print(os.getuid(), mlflow.__version__)"
    assert run_in(cluster, namespace, "mlflow", "python", "-c", asked) == f"1000660000 {VERSION}\n"
    assert VERSION in run_in(cluster, namespace, "mlflow", "mlflow", "--version")


def test_an_unknown_image_is_not_found(cluster: Cluster, namespace: str) -> None:
    cluster.apply(pod("unknown", namespace, image="ghcr.io/mlflow/mlflow:v0.0.0"))
    ask = ("get", "pod", "unknown", f"--namespace={namespace}", WAITING)
    wait_until(lambda: "not found" in cluster.kubectl(*ask), "a pull that says not found", 30, pause=0.5)


def test_a_pull_reports_a_429_of_the_registry(cluster: Cluster, namespace: str) -> None:
    cluster.registry_fault({"status": 429, "name": "ghcr.io/mlflow/mlflow"})
    try:
        # a tag that no test has pulled: containerd does not pull an image again
        cluster.apply(pod("limited", namespace, image="ghcr.io/mlflow/mlflow:never-pulled"))
        ask = ("get", "pod", "limited", f"--namespace={namespace}", WAITING)
        wait_until(lambda: "429" in cluster.kubectl(*ask), "a pull that says 429", 30, pause=0.5)
    finally:
        cluster.registry_fault(None)
