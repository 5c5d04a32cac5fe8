"""The program that starts the server: the databases it creates and refuses, and its messages."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
import requests

from deployer.catalogue import PLUGINS
from tests.support import snapshots
from tests.support.machine import Machine
from tests.support.servers import PASSWORD, free_port, running, settings

EX_CONFIG = 78


def start(machine: Machine, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Start a server that must refuse to start."""
    command = [machine.server_python(), str(PLUGINS / "launch.py")]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def command(machine: Machine) -> list[str]:
    return [machine.server_python(), str(PLUGINS / "launch.py")]


@pytest.fixture(scope="module")
def databases(environments: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the databases of a server that has run."""
    folder, port = tmp_path_factory.mktemp("databases"), free_port()
    (python,) = map(str, environments.glob("mlflow-*/bin/python"))
    snapshots.copy(python, folder)
    if not list(folder.glob("*.db")):
        with running([python, str(PLUGINS / "launch.py")], settings(folder, port), port, path="health/stores"):
            snapshots.keep(python, folder)
    return folder


@pytest.fixture
def made(databases: Path, tmp_path: Path) -> dict[str, str]:
    """The settings of a server with existing databases, which contain the administrator."""
    for database in databases.glob("*.db"):
        shutil.copy(database, tmp_path)
    return settings(tmp_path, free_port())


def set_revision(database: Path, table: str, revision: str) -> bytes:
    with sqlite3.connect(database) as connection:
        connection.execute(f"UPDATE {table} SET version_num = ?", (revision,))
    connection.close()
    return database.read_bytes()


@pytest.mark.parametrize(
    ("name", "table", "named"),
    [
        ("tracking", "alembic_version", "-m mlflow db upgrade sqlite:///"),
        ("auth", "alembic_version_auth", "-m mlflow.server.auth db upgrade --url sqlite:///"),
    ],
)
def test_a_database_of_another_schema_is_refused_unchanged_and_the_command_named(
    machine: Machine, tmp_path: Path, made: dict[str, str], name: str, table: str, named: str
) -> None:
    before = set_revision(tmp_path / f"{name}.db", table, "0123456789ab")
    refused = start(machine, made)
    assert refused.returncode == EX_CONFIG
    assert f"the {name} database has schema 0123456789ab" in refused.stderr
    assert named in refused.stderr
    assert "Back the database up" in refused.stderr
    assert (tmp_path / f"{name}.db").read_bytes() == before


def test_a_database_with_data_and_no_revision_is_refused(
    machine: Machine, tmp_path: Path, made: dict[str, str]
) -> None:
    with sqlite3.connect(tmp_path / "auth.db") as connection:
        connection.execute("DROP TABLE alembic_version_auth")
    connection.close()
    refused = start(machine, made)
    assert refused.returncode == EX_CONFIG
    assert "schema of an unknown version" in refused.stderr


def test_the_same_schema_starts_again_with_its_data(machine: Machine, made: dict[str, str]) -> None:
    port = int(made["MLFLOW_PORT"])
    again = {**made, "MLFLOW_AUTH_ADMIN_PASSWORD": "a-later-password-is-ignored"}
    with running(command(machine), again, port, path="health/stores") as address:
        url = f"{address}/api/2.0/mlflow/users/current"
        assert requests.get(url, auth=("admin", PASSWORD), timeout=30).status_code == 200
        assert requests.get(url, auth=("admin", again["MLFLOW_AUTH_ADMIN_PASSWORD"]), timeout=30).status_code == 401


def test_files_of_a_killed_first_start_are_removed(machine: Machine, tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "tracking.db.initial").write_bytes(b"half a database")
    (tmp_path / "auth.db").write_bytes(b"")
    with running(command(machine), settings(tmp_path, port), port, path="health/stores"):
        assert sorted(path.name for path in tmp_path.glob("*.db*")) == ["auth.db", "tracking.db"]


def test_a_file_other_than_a_database_is_refused_unchanged(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "tracking.db").write_bytes(b"precious " * 1000)
    refused = start(machine, settings(tmp_path, free_port()))
    assert refused.returncode == EX_CONFIG
    assert "file is not a database" in refused.stderr
    assert (tmp_path / "tracking.db").read_bytes() == b"precious " * 1000


def test_missing_settings_are_named(machine: Machine, tmp_path: Path) -> None:
    env = settings(tmp_path, free_port())
    del env["MLFLOW_FLASK_SERVER_SECRET_KEY"], env["MLFLOW_AUTH_ADMIN_PASSWORD"]
    refused = start(machine, env)
    assert refused.returncode == EX_CONFIG
    assert "not set: MLFLOW_AUTH_ADMIN_PASSWORD, MLFLOW_FLASK_SERVER_SECRET_KEY" in refused.stderr


def test_a_password_refused_by_mlflow_causes_a_one_line_error(machine: Machine, tmp_path: Path) -> None:
    refused = start(machine, {**settings(tmp_path, free_port()), "MLFLOW_AUTH_ADMIN_PASSWORD": "short"})
    assert refused.returncode == EX_CONFIG
    assert "deployer: refused to start" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_taken_port_is_refused_before_anything_is_made(machine: Machine, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        refused = start(machine, settings(tmp_path, taken.getsockname()[1]))
    assert refused.returncode == EX_CONFIG
    assert "Address already in use" in refused.stderr
    assert list(tmp_path.glob("*.db")) == []


def test_stores_health_fails_when_a_database_cannot_be_read(
    machine: Machine, tmp_path: Path, made: dict[str, str]
) -> None:
    with running(command(machine), made, int(made["MLFLOW_PORT"]), path="health/stores") as address:
        with sqlite3.connect(tmp_path / "auth.db") as connection:
            connection.execute("ALTER TABLE users RENAME TO away")
        connection.close()
        answer = requests.get(f"{address}/health/stores", timeout=30)
        assert answer.status_code == 503
        assert answer.json() == {"tracking": "ok", "auth": "unavailable"}
        assert requests.get(f"{address}/health", timeout=30).status_code == 200


def test_a_connection_stays_open_during_pauses_of_a_proxy(shared_machine: Machine) -> None:
    address = shared_machine.create()["address"]
    with closing(HTTPConnection("127.0.0.1", int(address.rpartition(":")[2]), timeout=60)) as connection:
        connection.auto_open = 0
        connection.connect()
        for pause in (0, 7):  # uvicorn's default of five seconds is shorter than the time-out of any proxy
            time.sleep(pause)
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b"OK"


def test_hosts_and_origins_are_checked(shared_machine: Machine) -> None:
    address = shared_machine.create()["address"]
    login = ("admin", shared_machine.password())
    url = f"{address}/api/2.0/mlflow/experiments/search"
    for path in (url, f"{address}/health/stores"):
        assert requests.get(path, headers={"Host": "evil.example.org"}, auth=login, timeout=30).status_code == 403
    for origin, status in ((address, 200), ("https://evil.example.org", 403)):
        answer = requests.post(url, json={"max_results": 1}, headers={"Origin": origin}, auth=login, timeout=30)
        assert answer.status_code == status


def test_the_keys_survive_stop_delete_and_create(shared_machine: Machine) -> None:
    shared_machine.create()
    secrets = shared_machine.state / "servers/mlflow/secrets.json"
    before = secrets.read_text()
    for command_line in (["stop"], ["start"], ["delete"], ["create", "--target", "local"]):
        shared_machine.run(*command_line)
        assert secrets.read_text() == before


def test_create_prints_the_refusal_and_the_data_stays(shared_machine: Machine) -> None:
    shared_machine.create()
    shared_machine.run("stop")
    database = shared_machine.state / "servers/mlflow/data/tracking.db"
    with sqlite3.connect(database) as connection:
        (head,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    connection.close()
    before = set_revision(database, "alembic_version", "0123456789ab")
    refused = shared_machine.run("create", code=1)
    assert "the tracking database has schema 0123456789ab" in refused.stderr
    assert f"{shared_machine.server_python()} -m mlflow db upgrade sqlite:///{database}" in refused.stderr
    assert database.read_bytes() == before
    set_revision(database, "alembic_version", head)
    assert shared_machine.create()["changed"] is True
