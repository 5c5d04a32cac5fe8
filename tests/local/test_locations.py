"""The proof names experiments of old data whose artifacts clients write to their local disks."""

from __future__ import annotations

import requests

from tests.support.load import API
from tests.support.machine import Machine


def test_the_proof_names_experiments_whose_artifacts_go_elsewhere(machine: Machine) -> None:
    created = machine.create()
    assert created["warnings"] == []
    login = ("admin", machine.password())
    places = {
        "old": "/home/anna/mlruns/1",
        "in a bucket": "s3://bucket/2",
        "usual": None,
        "mixed": "mlflow-artifacts:/1",
    }
    for name, place in places.items():
        body = {"name": name, "artifact_location": place}
        requests.post(
            f"{created['address']}/{API}/experiments/create", json=body, auth=login, timeout=60
        ).raise_for_status()
    proven = machine.run("verify")
    assert proven.stdout.count("✗") == 0
    outside, mixed = [line for line in proven.stdout.splitlines() if " warning " in line]
    assert "experiment 'in a bucket' (at 's3://bucket/2') and experiment 'old' (at '/home/anna/mlruns/1')" in outside
    assert "each client writes there itself" in outside
    assert "experiment 'mixed' (at 'mlflow-artifacts:/1') lie in the folder of another experiment" in mixed
    assert "usual" not in proven.stdout
    told = machine.json("verify")
    assert (told["ok"], len(told["warnings"])) == (True, 2)
    machine.run("stop")
    assert machine.json("create")["warnings"] == told["warnings"]
