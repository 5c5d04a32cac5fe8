"""On SQLite, a new experiment never has the number of an earlier experiment, and so inherits nothing from it."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from tests.local.minors import ADMIN, CASES, Case, Server, served

V2 = "api/2.0/mlflow"
V3 = "api/3.0/mlflow"
ARTIFACTS = "api/2.0/mlflow-artifacts/artifacts"
OF_A_MIGRATION = 123456789012345678  # `mlflow migrate-filestore` keeps the numbers of files


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def server(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with served(request.param, python_of(request.param.version), tmp_path_factory.mktemp("numbers")) as server:
        yield server


def tracking_database(folder: Path) -> str:
    return str(folder / "tracking.db")


def gc(server: Server, experiment: str) -> None:
    """Delete an experiment, and remove it with MLflow's own program."""
    server.change(f"{V2}/experiments/delete", {"experiment_id": experiment})
    uri = f"sqlite:///{tracking_database(server.log.parent)}"
    command = [server.python, "-m", "mlflow", "gc", "--backend-store-uri", uri, "--experiment-ids", experiment]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(server.log.parent), "MLFLOW_TRACKING_URI": uri}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(tracking_database(server.log.parent))) as database:
        query = "SELECT * FROM experiments WHERE experiment_id = ?"
        assert database.execute(query, (experiment,)).fetchall() == []


def test_a_new_experiment_inherits_nothing_from_a_removed_one(server: Server) -> None:
    owner, heir, reader = (server.member(name) for name in ("owner", "heir", "reader"))
    old = str(server.ask(f"{V2}/experiments/create", owner, {"name": "old"}).json()["experiment_id"])
    server.ask(f"{V3}/datasets/create", owner, {"name": "secret", "experiment_ids": [old]}).raise_for_status()
    kept = f"{server.address}/{ARTIFACTS}/{old}/traces/t/artifacts/f.txt"
    requests.put(kept, b"secret", auth=owner, timeout=60).raise_for_status()
    role = server.change(f"{V3}/roles/create", {"name": "readers", "workspace": "default"})["role"]["id"]
    grant = {"role_id": role, "resource_type": "experiment", "resource_pattern": old, "permission": "READ"}
    server.change(f"{V3}/roles/permissions/add", grant)
    server.change(f"{V3}/roles/assign", {"role_id": role, "username": reader[0]})
    assert server.ask(f"{V2}/experiments/get?experiment_id={old}", reader).ok
    gc(server, old)

    new = str(server.ask(f"{V2}/experiments/create", heir, {"name": "new"}).json()["experiment_id"])
    assert int(new) > int(old)
    found = server.ask(f"{V3}/datasets/search", heir, {"experiment_ids": [new]})
    assert (found.status_code, found.json().get("datasets", [])) == (200, [])
    listed = server.ask(f"{ARTIFACTS}?path={new}", heir)
    assert "traces" not in listed.text
    assert server.ask(f"{V2}/experiments/get?experiment_id={new}", reader).status_code == 403
    assert server.ask(f"{V2}/experiments/get?experiment_id={new}", heir).json()["experiment"]["artifact_location"] == (
        f"mlflow-artifacts:/{new}"
    )
    for again in (new, server.experiment("newer")):
        gc(server, again)
        assert int(server.experiment(f"after {again}")) > int(again)


def test_numbers_of_another_size_are_never_assigned(server: Server) -> None:
    before = int(server.experiment("before a migration"))
    with closing(sqlite3.connect(tracking_database(server.log.parent), timeout=60)) as database, database:
        columns = "experiment_id, name, artifact_location, lifecycle_stage, creation_time, last_update_time"
        values = (OF_A_MIGRATION, "migrated", f"mlflow-artifacts:/{OF_A_MIGRATION}", "active", 1, 1)
        database.execute(f"INSERT INTO experiments ({columns}) VALUES (?, ?, ?, ?, ?, ?)", values)
    assert server.ask(f"{V2}/experiments/get?experiment_id={OF_A_MIGRATION}", ADMIN).ok
    assert int(server.experiment("after a migration")) == before + 1


def test_a_refused_experiment_takes_no_number_and_changes_nothing(server: Server) -> None:
    first = int(server.experiment("taken"))
    assert server.ask(f"{V2}/experiments/create", ADMIN, {"name": "taken"}).status_code == 400
    assert int(server.experiment("not taken")) == first + 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.version)
def test_experiments_older_than_the_stored_number_are_found(
    case: Case, python_of: Callable[[str], str], tmp_path: Path
) -> None:
    python = python_of(case.version)
    with served(case, python, tmp_path) as server:
        old = server.experiment("old")
    with closing(sqlite3.connect(tracking_database(tmp_path))) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (int(old),)
        database.execute("PRAGMA user_version = 0")  # as in a database of an earlier release
    with served(case, python, tmp_path) as server:
        gc(server, old)
    with served(case, python, tmp_path) as server:
        assert int(server.experiment("new")) == int(old) + 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.version)
def test_experiments_removed_by_an_earlier_release_are_found_by_their_remains(
    case: Case, python_of: Callable[[str], str], tmp_path: Path
) -> None:
    """The remains are a link or a file. Without remains, the number may be used again: there is nothing to inherit."""
    python, highest = python_of(case.version), 0
    for left in ("link", "file", "nothing"):
        with served(case, python, tmp_path) as server:
            kept = server.experiment(f"before what leaves {left}")
            assert int(kept) == highest + 1
            old = server.experiment(f"leaves {left}")
            if left == "link":
                server.change(f"{V3}/datasets/create", {"name": "linked", "experiment_ids": [old]})
            if left == "file":
                path = f"{server.address}/{ARTIFACTS}/{old}/traces/t/artifacts/f.txt"
                requests.put(path, b"text", auth=ADMIN, timeout=60).raise_for_status()
            gc(server, old)
        with closing(sqlite3.connect(tracking_database(tmp_path))) as database:
            database.execute("PRAGMA user_version = 0")  # as in a database of an earlier release
        highest = int(kept if left == "nothing" else old)
    with served(case, python, tmp_path) as server:
        assert int(server.experiment("last")) == highest + 1


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.version)
def test_simultaneous_experiments_of_several_workers_have_different_numbers(
    case: Case, python_of: Callable[[str], str], tmp_path: Path
) -> None:
    with served(replace(case, workers=3), python_of(case.version), tmp_path) as server, ThreadPoolExecutor(8) as pool:
        made = list(pool.map(server.experiment, (f"experiment {number}" for number in range(48))))
    assert sorted(map(int, made)) == list(range(1, 49))
