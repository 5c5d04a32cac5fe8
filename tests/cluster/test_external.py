"""A server on a cluster with PostgreSQL databases outside the cluster."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator

import pytest

from tests.cluster.user import User
from tests.local.test_external import Team, made_in
from tests.support import postgres
from tests.support.object_store import WRITER, seaweedfs
from tests.support.postgres import PostgreSQL
from tests.testbed.cluster import Cluster

URLS = ("--database-file", "urls.txt")


@pytest.fixture(scope="module")
def server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    """PostgreSQL on this machine, at an address that the cluster's pods can reach."""
    programs = postgres.programs(tmp_path_factory.mktemp("postgres"))
    with postgres.guarded(programs, cluster.client_addresses[0]) as started:
        yield started


@pytest.fixture
def team(server: PostgreSQL) -> Team:
    return made_in(server, f"t{secrets.token_hex(4)}")


def data(user: User) -> dict[str, str]:
    found = user.get("secret", "mlflow-server")["data"]
    return {key: base64.b64decode(text).decode() for key, text in found.items()}


def require_proven_with(user: User, team: Team) -> None:
    assert {key: url for key, url in data(user).items() if "database" in key} == team.stored_urls()
    assert user.json("status")["proven"] is True
    assert user.json("create")["changed"] is False


def pod(user: User) -> str:
    (only,) = json.loads(user.kubectl("get", "pods", "-o", "json"))["items"]
    return str(only["metadata"]["uid"])


def test_two_workers_on_postgresql_accept_new_passwords_at_once(user: User, team: Team) -> None:
    team.give(user)
    created = user.create("mlflow", *URLS, "--workers", "2")
    assert [check["ok"] for check in created["verified"]] == [True] * 9
    assert team.server.sql("SELECT username FROM users;", team.auth) == "admin"
    assert user.objects("pvc") == {"persistentvolumeclaim/mlflow-data"}  # for the artifacts
    require_proven_with(user, team)
    before = pod(user)
    checks = user.json("rotate-password")["verified"]
    assert [check["ok"] for check in checks] == [True] * 4
    edited = base64.b64encode(b"not-the-password-at-all").decode()
    user.kubectl("patch", "secret", "mlflow-admin", "--type=merge", "-p", json.dumps({"data": {"current": edited}}))
    assert "--recover" in user.run("rotate-password", code=5).stderr
    user.run("rotate-password", "--recover")
    assert pod(user) == before
    user.run("verify")
    require_proven_with(user, team)


@pytest.mark.full_scale
def test_a_server_with_postgresql_and_s3_has_no_volume(
    user: User, team: Team, tmp_path_factory: pytest.TempPathFactory
) -> None:
    team.give(user)
    folder = user.home / ".aws"
    folder.mkdir()
    folder.joinpath("credentials").write_text(
        f"[default]\nAWS_ACCESS_KEY_ID={WRITER[0]}\nAWS_SECRET_ACCESS_KEY={WRITER[1]}\n"
    )
    bucket = f"team-{secrets.token_hex(4)}"
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs"), user.bed.client_addresses[0]) as store:
        options = ("--bucket", bucket, "--s3-endpoint", store.endpoint, "--make-bucket")
        assert all(check["ok"] for check in user.create("mlflow", *URLS, *options)["verified"])
        assert user.objects("pvc") == set()
        user.run("stop")
        user.run("start")
        require_proven_with(user, team)
        gone = user.run("delete", "--delete-data", "--yes").stdout
    assert "Its runs and users stay in their databases" in gone
    assert int(team.server.sql("SELECT count(*) FROM runs;", team.tracking)) > 0


@pytest.mark.full_scale
def test_a_failing_database_login_never_replaces_a_working_login(user: User, team: Team) -> None:
    team.give(user)
    user.create("mlflow", *URLS)
    before = pod(user)
    team.mistaken().give(user)
    refused = user.run("create", *URLS, code=1).stderr
    assert "password authentication failed" in refused
    assert "nothing was changed" in refused
    assert pod(user) == before
    require_proven_with(user, team)

    user.run("stop")  # no pod runs that could try the new URLs
    refused = user.run("create", *URLS, code=1).stderr
    assert "password authentication failed" in refused
    assert "it runs with the old URLs again" in refused
    require_proven_with(user, team)

    changed = team.with_new_password()
    changed.give(user)
    user.run("create", *URLS)
    require_proven_with(user, changed)


@pytest.mark.full_scale
def test_another_database_is_refused_once_data_exists(user: User, team: Team, server: PostgreSQL) -> None:
    team.give(user)
    user.create("mlflow", *URLS)
    made_in(server, f"o{secrets.token_hex(4)}").give(user)
    assert "leads to another database" in user.run("create", *URLS, code=5).stderr
    require_proven_with(user, team)
