"""A server with external PostgreSQL databases, and changes of the database login."""

from __future__ import annotations

import json
import random
import re
import secrets
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import requests

from deployer.catalogue import PLUGINS
from deployer.core.stack import sizing
from tests.local.test_rotate import edit, secrets_file, status
from tests.support import postgres
from tests.support.killing import interrupt_in_step, kill_in_step
from tests.support.load import API
from tests.support.machine import Machine, watched
from tests.support.postgres import PostgreSQL
from tests.support.servers import free_port, running, settings

full_scale = pytest.mark.full_scale
HEADER = "apiVersion: mlflow-deployer.github.io/v1alpha1\nkind: MLflowServer\n"
FILE = ("--target", "local", "--database-file", "urls.txt")


@dataclass(frozen=True)
class Team:
    """Two databases in a shared PostgreSQL, and a login for them."""

    server: PostgreSQL
    tracking: str
    auth: str
    user: str
    password: str = field(repr=False)

    def urls(self) -> dict[str, str]:
        databases = {"tracking": self.tracking, "auth": self.auth}
        return {name: self.server.url(self.user, self.password, database) for name, database in databases.items()}

    def stored_urls(self) -> dict[str, str]:
        """Return the URLs as deployer stores them."""
        return {f"{name}-database-url": url.replace("://", "+psycopg2://") for name, url in self.urls().items()}

    def give(self, machine: Machine) -> None:
        """Write the file with the URLs."""
        text = "".join(f"{name} = {url}\n" for name, url in self.urls().items())
        (machine.home / "urls.txt").write_text(f"# from the database administrators\n\n{text}")
        machine.witness.learn(f"the password of {self.user}", self.password)

    def mistaken(self) -> Team:
        """Return a copy with a wrong password."""
        return replace(self, password=new_password())

    def with_new_password(self) -> Team:
        """Change the password in the database, which ends the old password; return a copy with the new password."""
        changed = replace(self, password=new_password())
        self.server.sql(f"ALTER ROLE \"{self.user}\" PASSWORD '{changed.password}';")
        return changed

    def holding(self, lock: str) -> AbstractContextManager[None]:
        """Hold the locks of a statement in the tracking database until the block ends."""
        return self.server.holding(lock, self.tracking)

    def most_waiting(self, expected: int) -> int:
        """Return the maximum of sessions that wait for a lock; stop shortly after that many wait, or after a minute."""
        query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{self.tracking}' AND wait_event_type = 'Lock';"
        most, until, left = 0, time.monotonic() + 60, 20
        while left and time.monotonic() < until:
            most = max(most, int(self.server.sql(query)))
            left -= most >= expected
        return most

    def colleague(self, *grants: str) -> Team:
        """Create a second login, by default with the permissions of the owner."""
        second = replace(self, user=f"second-{secrets.token_hex(4)}", password=new_password())
        member = "" if grants else f' IN ROLE "{self.user}"'
        self.server.sql(f"CREATE ROLE \"{second.user}\" LOGIN PASSWORD '{second.password}'{member};")
        for database in (self.tracking, self.auth):
            for grant in grants:
                self.server.sql(f'GRANT {grant} TO "{second.user}";', database)
        return second


def new_password() -> str:
    """A password full of special characters of URLs, ini files and shells."""
    return f"p%s@:/?#&=$(x) {secrets.token_urlsafe(12)}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with postgres.guarded(postgres.programs(tmp_path_factory.mktemp("postgres"))) as started:
        yield started


def made_in(server: PostgreSQL, name: str) -> Team:
    user, password = f"{name}@team", new_password()
    tracking, auth = f"{name}_tracking", f"{name}_auth"
    server.make_database(tracking, user, password)
    server.sql(f'CREATE DATABASE {auth} OWNER "{user}";')
    return Team(server, tracking, auth, user, password)


@pytest.fixture
def new_team(server: PostgreSQL) -> Callable[[], Team]:
    return lambda: made_in(server, f"t{secrets.token_hex(4)}")


@pytest.fixture
def team(new_team: Callable[[], Team]) -> Team:
    return new_team()


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory, server: PostgreSQL) -> Path:
    """The environment of this module, with the PostgreSQL driver. Its installation is interrupted once."""
    machine = Machine(tmp_path_factory.mktemp("environments"))
    with watched([machine]):
        made_in(server, "builder").give(machine)
        interrupt_in_step(machine, ("create", "builder", *FILE), "environment")
        machine.run("create", "builder", *FILE)
        assert machine.remains() == []
        machine.run("delete", "builder", "--delete-data", "--yes")
    return machine.state / "environments"


def stored(machine: Machine) -> dict[str, str]:
    kept = json.loads(secrets_file(machine).read_text())["server"]
    return {name: url for name, url in kept.items() if "database" in name}


def require_proven_with(machine: Machine, team: Team) -> None:
    """Check that the server runs, is proven, and uses only this login."""
    assert stored(machine) == team.stored_urls()
    assert machine.json("status")["proven"] is True
    assert machine.json("create")["changed"] is False
    assert machine.remains() == []


def create(machine: Machine, team: Team, *options: str) -> Any:
    """Create a server with these databases, at a port that no other test uses while the server is stopped."""
    team.give(machine)
    return machine.json("create", "mlflow", *FILE, "--port", str(free_port()), *options)


def test_a_server_on_postgresql_works_like_any_other_server(machine: Machine, team: Team) -> None:
    created = create(machine, team)
    assert [check["ok"] for check in created["verified"]] == [True] * 9
    assert int(team.server.sql("SELECT count(*) FROM runs;", team.tracking)) > 0
    assert team.server.sql("SELECT username FROM users;", team.auth) == "admin"
    assert list((machine.state / "servers/mlflow/data").glob("*.db")) == []
    require_proven_with(machine, team)

    old = machine.password()
    assert [check["ok"] for check in machine.json("rotate-password")["verified"]] == [True] * 4
    new = machine.password()
    assert (status(machine, new), status(machine, old)) == (200, 401)
    edit(machine, current="not-the-password-at-all")
    assert "--recover" in machine.run("rotate-password", code=5).stderr
    machine.run("rotate-password", "--recover")
    password = machine.password()
    assert (status(machine, password), status(machine, new)) == (200, 401)

    for command in (("stop",), ("start",), ("delete",), ("create", "--target", "local")):
        machine.run(*command)
    assert (machine.password(), status(machine, password)) == (password, 200)
    require_proven_with(machine, team)
    for command in (("diff",), ("logs", "--tail", "1000"), ("env",), ("render", "--database-file", "urls.txt")):
        machine.run(*command)


def test_an_invalid_login_is_reported_before_anything_is_installed(bare_machine: Machine, team: Team) -> None:
    elsewhere = replace(team, server=replace(team.server, port=free_port()))
    for wrong, words in (
        (team.mistaken(), f'password authentication failed for user "{team.user}"'),
        (replace(team, auth="nowhere"), 'auth: database "nowhere" does not exist'),
        (elsewhere, f"tracking: 127.0.0.1 port {elsewhere.server.port} cannot be reached: Connection refused"),
    ):
        wrong.give(bare_machine)
        refused = bare_machine.run("create", "mlflow", *FILE, code=1).stderr
        assert words in refused
        assert "nothing was made" in refused
        assert list((bare_machine.state / "environments").iterdir()) == []
        assert bare_machine.json("list") == []


def test_many_clients_need_no_more_than_the_computed_connections(machine: Machine, team: Team) -> None:
    address = create(machine, team, "--workers", "2")["address"]
    admin = ("admin", machine.password())

    def post(path: str, body: dict[str, Any]) -> requests.Response:
        return requests.post(f"{address}/{path}", json=body, auth=admin, timeout=120)

    run = post(f"{API}/runs/create", {"experiment_id": "0", "start_time": 1}).json()["run"]["info"]["run_id"]

    def ask(number: int) -> int:
        """Open four nested sessions, or one session of another store."""
        tag = {"key": "mlflow.runName", "value": f"name {number}"}
        asked = [(f"{API}/runs/log-batch", {"run_id": run, "tags": [tag]})] * 4
        asked += [("ajax-api/3.0/jobs/search", {}), (f"{API}/registered-models/create", {"name": f"model {number}"})]
        return post(*asked[number % len(asked)]).status_code

    most, count = 0, f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{team.user}';"
    with ThreadPoolExecutor(64) as crowd:
        answers = [crowd.submit(ask, number) for number in range(600)]
        while not all(answer.done() for answer in answers):
            most = max(most, int(team.server.sql(count)))
    assert {answer.result() for answer in answers} == {200}
    assert 2 * sizing.threads(2, shared=True) < most <= sizing.connections(2)


def test_requests_for_one_more_connection_each_do_not_deadlock(machine: Machine, team: Team) -> None:
    address = create(machine, team)["address"]
    session = requests.Session()
    session.auth = ("admin", machine.password())
    session.get(f"{address}/{API}/users/current", timeout=60).raise_for_status()  # the password is cached from now on
    body = {"experiment_id": "0", "start_time": 1}
    run = session.post(f"{address}/{API}/runs/create", json=body, timeout=60).json()["run"]["info"]["run_id"]
    count = sizing.threads(1, shared=True)

    def ask(number: int) -> int:
        body = {"run_id": run, "tags": [{"key": "mlflow.runName", "value": f"name {number}"}]}
        url = f"{address}/{API}/runs/log-batch"
        return requests.post(url, json=body, auth=session.auth, timeout=120).status_code

    with ThreadPoolExecutor(count) as crowd:
        # each request reaches its second session, which reads tags, then its third; the fourth session writes the run
        with team.holding(f"SELECT * FROM runs WHERE run_uuid = '{run}' FOR UPDATE"):
            with team.holding("LOCK TABLE tags IN ACCESS EXCLUSIVE MODE"):
                answers = [crowd.submit(ask, number) for number in range(count)]
                assert team.most_waiting(count) == count
            assert team.most_waiting(sizing.SPARE_CONNECTIONS) == sizing.SPARE_CONNECTIONS
        assert [answer.result() for answer in answers] == [200] * count


def test_serving_threads_write_traces(machine: Machine, team: Team) -> None:
    address = create(machine, team)["address"]
    login = ("admin", machine.password())
    requests.get(f"{address}/{API}/users/current", auth=login, timeout=60).raise_for_status()
    count = sizing.threads(1, shared=True)

    def send(number: int) -> int:
        headers = {"Content-Type": "application/x-protobuf", "x-mlflow-experiment-id": "0"}
        url = f"{address}/v1/traces"
        return requests.post(url, data=trace(number), headers=headers, auth=login, timeout=120).status_code

    with ThreadPoolExecutor(2 * count) as crowd:
        with team.holding("LOCK TABLE trace_info IN ACCESS EXCLUSIVE MODE"):
            answers = [crowd.submit(send, number) for number in range(2 * count)]
            assert team.most_waiting(count) == count
        assert {answer.result() for answer in answers} == {200}
    assert team.server.sql("SELECT count(*) FROM trace_info;", team.tracking) == str(2 * count)


def trace(number: int) -> bytes:
    """Return a trace of one span in OpenTelemetry's protocol (opentelemetry/proto/collector/trace/v1)."""

    def part(field: int, content: bytes) -> bytes:
        return bytes([field << 3 | 2, len(content)]) + content

    span = part(1, number.to_bytes(16, "big")) + part(2, number.to_bytes(8, "big")) + part(5, b"a step")
    times = bytes([7 << 3 | 1]) + (10**18).to_bytes(8, "little") + bytes([8 << 3 | 1]) + (10**18).to_bytes(8, "little")
    return part(1, part(2, part(2, span + times)))


@full_scale
def test_a_password_is_changed_for_both_workers_at_once(machine: Machine, team: Team) -> None:
    address = create(machine, team, "--workers", "2")["address"]
    old = machine.password()
    machine.run("rotate-password")
    # each request has a new connection to either worker; guesses are slowed
    logins = [("admin", machine.password())] * 10 + [("admin", old)] * 10
    answers = [requests.get(f"{address}/{API}/users/current", auth=login, timeout=30).status_code for login in logins]
    assert set(answers[:10]) == {200}
    assert set(answers[10:]) <= {401, 429}


@full_scale
def test_one_database_can_hold_tracking_data_and_users(machine: Machine, team: Team) -> None:
    both = replace(team, auth=team.tracking)
    create(machine, both)
    assert team.server.sql("SELECT count(*) FROM experiments, users;", team.tracking) != "0"
    machine.run("stop")
    machine.run("start")
    require_proven_with(machine, both)


@full_scale
def test_create_without_urls_creates_nothing_and_prints_what_to_type(machine: Machine) -> None:
    (machine.home / "spec.yaml").write_text(f"{HEADER}spec: {{database: {{type: external}}}}\n")
    refused = machine.run("create", "-f", "spec.yaml", "--target", "local", code=2).stderr
    assert "deployer create mlflow --database-file FILE" in refused
    assert "tracking = postgresql://" in refused
    assert machine.json("list") == []
    refused = machine.run("render", "-f", "spec.yaml", "--credentials", "secrets.yaml", code=2).stderr
    assert "--database-file FILE" in refused


@full_scale
def test_rendered_secrets_hold_the_urls_and_manifests_do_not(machine: Machine, team: Team) -> None:
    team.give(machine)
    manifests = machine.run("render", "--database-file", "urls.txt", "--credentials", "secrets.yaml").stdout
    assert "tracking-database-url" in manifests
    path = machine.home / "secrets.yaml"
    assert path.stat().st_mode & 0o777 == 0o600
    assert all(json.dumps(url) in path.read_text() for url in team.stored_urls().values())


@full_scale
def test_mistakes_in_a_file_are_reported_by_line(machine: Machine, team: Team) -> None:
    team.give(machine)
    good = (machine.home / "urls.txt").read_text()
    refused = machine.run("create", "--target", "local", "--database-file", "-", stdin=good + good, code=2).stderr
    assert "-: 2 mistakes" in refused
    assert "line 7: tracking stands here twice" in refused
    assert machine.json("list") == []


@full_scale
def test_a_wrong_password_is_refused_and_the_server_is_left_alone(machine: Machine, team: Team) -> None:
    create(machine, team)
    before = machine.record(), machine.pid()
    team.mistaken().give(machine)
    refused = machine.run("create", "mlflow", *FILE, code=1).stderr
    assert "password authentication failed" in refused
    assert "nothing was changed" in refused
    assert (machine.record(), machine.pid()) == before
    require_proven_with(machine, team)


@full_scale
def test_a_new_login_replaces_the_old_login(machine: Machine, team: Team) -> None:
    create(machine, team)
    pid, password = machine.pid(), machine.password()
    changed = team.with_new_password()
    changed.give(machine)
    done = machine.run("create", "mlflow", *FILE)
    assert "Change: the URL of the tracking database" in done.stderr
    assert "is running and verified" in done.stdout
    assert machine.pid() != pid
    assert machine.password() == password
    require_proven_with(machine, changed)


@full_scale
def test_failing_urls_are_replaced_by_the_proven_urls(machine: Machine, team: Team) -> None:
    create(machine, team)
    machine.run("stop")  # there is no running server to test the URLs
    team.mistaken().give(machine)
    refused = machine.run("create", "mlflow", *FILE, code=1).stderr
    assert "password authentication failed" in refused
    assert "it runs with the old URLs again" in refused
    require_proven_with(machine, team)

    team.colleague("SELECT ON ALL TABLES IN SCHEMA public").give(machine)  # a valid login that cannot write
    refused = machine.run("create", "mlflow", *FILE, code=1).stderr
    assert "Verification failed: the server is not proven with the new URLs" in refused
    assert "it runs with the old URLs again" in refused
    require_proven_with(machine, team)


@full_scale
def test_a_valid_login_repairs_a_server_whose_logins_both_failed(machine: Machine, team: Team) -> None:
    create(machine, team)
    machine.run("stop")
    changed = team.with_new_password()
    team.mistaken().give(machine)
    refused = machine.run("create", "mlflow", *FILE, code=1).stderr
    assert "the old URLs are stored again, but are not proven either" in refused
    changed.give(machine)
    machine.run("create", "mlflow", *FILE)
    require_proven_with(machine, changed)


@full_scale
def test_another_database_is_refused_once_data_exists(
    machine: Machine, team: Team, new_team: Callable[[], Team]
) -> None:
    create(machine, team)
    before = machine.record(), machine.pid()
    new_team().give(machine)
    assert "leads to another database" in machine.run("create", "mlflow", *FILE, code=5).stderr
    assert (machine.record(), machine.pid()) == before
    machine.run("delete")
    assert "leads to another database" in machine.run("create", "mlflow", *FILE, code=5).stderr
    machine.run("create", "--target", "local")
    require_proven_with(machine, team)


@full_scale
def test_a_server_on_sqlite_is_not_moved_to_postgresql(machine: Machine, team: Team) -> None:
    machine.create()
    before = machine.record(), machine.pid()
    team.give(machine)
    assert "deployer does not move them" in machine.run("create", "mlflow", *FILE, code=5).stderr
    assert (machine.record(), machine.pid()) == before


@full_scale
def test_a_change_of_login_killed_at_any_step_continues(machine: Machine, team: Team, seed: int, soak: bool) -> None:
    create(machine, team)
    chance, logins = random.Random(f"{seed} external"), (team.colleague(), team)
    # the longest time before the kill, in seconds; the first step is short
    steps = {"credentials": 0.02, "start": 1.0, "ready": 3.0, "verify": 1.0}
    for number, (step, length) in enumerate([*steps.items()] * (5 if soak else 1)):
        login = logins[number % 2]
        login.give(machine)
        kill_in_step(machine, ("create", "mlflow", *FILE), step, chance, length)
        # with stored URLs, `start` continues without the file
        machine.run(*(("start",) if step == "ready" else ("create", "mlflow", *FILE)))
        require_proven_with(machine, login)
        assert len(machine.processes()) == 1


@full_scale
def test_delete_says_that_the_databases_stay(machine: Machine, team: Team) -> None:
    create(machine, team)
    asked = machine.run("delete", "--delete-data", code=2).stderr
    assert "would destroy all artifacts and credentials" in asked
    gone = machine.run("delete", "--delete-data", "--yes").stdout
    assert "Its runs and users stay in their databases" in gone
    assert int(team.server.sql("SELECT count(*) FROM runs;", team.tracking)) > 0
    assert list((machine.state / "servers").iterdir()) == []
    # a new server does not know the passwords in these databases
    assert "rotate-password mlflow --recover" in machine.run("create", "mlflow", *FILE, code=1).stderr
    machine.run("rotate-password", "--recover")
    machine.run("create", "mlflow")
    require_proven_with(machine, team)


@full_scale
def test_a_login_without_permission_to_create_tables_is_reported(machine: Machine, team: Team) -> None:
    team.colleague(f"CONNECT ON DATABASE {team.tracking}").give(machine)
    refused = machine.run("create", "mlflow", *FILE, code=1).stderr
    assert "the tracking database cannot be given its tables: permission denied for schema public" in refused
    team.give(machine)
    machine.run("create", "mlflow", *FILE)  # no earlier login was proven, so none is restored
    require_proven_with(machine, team)


def python_of(environments: Path) -> str:
    return str(next(environments.glob("mlflow-*/bin/python")))


@full_scale
def test_two_servers_can_start_at_once_on_empty_databases(environments: Path, team: Team, tmp_path: Path) -> None:
    command, urls = [python_of(environments), str(PLUGINS / "launch.py")], team.stored_urls()
    with ExitStack() as stack:
        failed: list[AssertionError] = []
        both = threading.Barrier(2)

        def start(number: int) -> None:
            home, port = tmp_path / str(number), free_port()
            home.mkdir()
            env = settings(home, port) | {
                "MLFLOW_BACKEND_STORE_URI": urls["tracking-database-url"],
                "DEPLOYER_AUTH_DATABASE_URI": urls["auth-database-url"],
            }
            both.wait()
            try:
                stack.enter_context(running(command, env, port, path="health/stores"))
            except AssertionError as error:
                failed.append(error)

        threads = [threading.Thread(target=start, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
    assert team.server.sql("SELECT count(*) FROM users;", team.auth) == "1"


@full_scale
def test_tables_of_an_interrupted_first_start_are_completed(machine: Machine, environments: Path, team: Team) -> None:
    cut_short = (
        "import sys, sqlalchemy; from mlflow.store.tracking.dbmodels.initial_models import Base\n"
        "Base.metadata.create_all(sqlalchemy.create_engine(sys.stdin.read()))"
    )
    url = team.stored_urls()["tracking-database-url"]
    subprocess.run([python_of(environments), "-c", cut_short], input=url, text=True, check=True, timeout=120)
    assert "experiments" in team.server.sql("SELECT tablename FROM pg_tables;", team.tracking).split()
    team.give(machine)
    machine.run("create", "mlflow", *FILE)
    require_proven_with(machine, team)


@full_scale
@pytest.mark.parametrize(("name", "table"), [("tracking", "alembic_version"), ("auth", "alembic_version_auth")])
def test_another_schema_is_refused_and_the_upgrade_command_has_no_url_argument(
    machine: Machine, team: Team, name: str, table: str
) -> None:
    create(machine, team)
    machine.run("stop")
    database = getattr(team, name)
    head = team.server.sql(f"SELECT version_num FROM {table};", database)
    team.server.sql(f"UPDATE {table} SET version_num = '0123456789ab';", database)
    refused = machine.run("start", code=1).stderr
    assert f"the {name} database has schema 0123456789ab, this MLflow needs {head}" in refused
    (command,) = re.findall(r"\(`read -rs URL; export URL`\) and run: (.*)", refused)
    team.server.sql(f"UPDATE {table} SET version_num = '{head}';", database)
    env = {"PATH": "/usr/bin:/bin", "HOME": str(machine.home), "URL": team.stored_urls()[f"{name}-database-url"]}
    subprocess.run(["sh", "-c", command], env=env, check=True, timeout=120, capture_output=True)
    machine.run("start")
    require_proven_with(machine, team)
