"""An object belongs to its creator from its first moment; its scorers follow the permissions on their experiment."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from tests.local.minors import ADMIN, CASES, served
from tests.local.test_permissions import GRANT, HAS_SKILLS, MCP, PROMPT, SKILLS, V2, V3, Login, Scene, endpoint

REVOKE = f"{V3}/users/permissions/revoke"
SCORERS = f"{V3}/scorers"
GUARDRAILS = f"{V3}/gateway/guardrails"


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.version)
def scene(
    request: pytest.FixtureRequest, python_of: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    with served(request.param, python_of(request.param.version), tmp_path_factory.mktemp("owners")) as server:
        yield Scene(server, server.member("mia"), server.member("owner"))


def register(scene: Scene, experiment: str, name: str, login: Login) -> None:
    body = {"experiment_id": experiment, "name": name, "serialized_scorer": '{"name": "judge"}'}
    scene.make(f"{SCORERS}/register", body, login)


def granted(scene: Scene, login: Login) -> str:
    return str(scene.make(f"{V3}/users/permissions/list?username={login[0]}", None, method="GET"))


def rows(scene: Scene, database: str) -> sqlite3.Connection:
    """Open a database of the server."""
    return sqlite3.connect(scene.server.log.with_name(database), isolation_level=None)


# --- scorers and their experiment ---


@pytest.mark.parametrize("prefix", ["api", "ajax-api"])
def test_a_scorer_is_closed_with_its_experiment(scene: Scene, prefix: str) -> None:
    experiment, name = scene.experiment(), scene.new("scorer")
    member, friend = (scene.server.member(scene.new(each)) for each in ("member", "friend"))
    scene.grant("experiment", experiment, "EDIT", member)
    register(scene, experiment, name, member)
    register(scene, experiment, name, member)
    scorer, scorers = {"experiment_id": experiment, "name": name}, f"{prefix}/3.0/mlflow/scorers"
    asked = f"experiment_id={experiment}&name={name}"
    grant = {"resource_type": "scorer", "resource_id": f"{experiment}/{name}", "username": friend[0]}

    def statuses() -> list[int]:
        return [
            scene.status(f"{scorers}/get?{asked}", member),
            scene.status(f"{scorers}/versions?{asked}", member),
            scene.status(GRANT, member, {**grant, "permission": "READ"}),
            scene.status(REVOKE, member, grant),
            scene.status(f"{scorers}/delete", member, {**scorer, "version": 1}, "DELETE"),
        ]

    scene.make(REVOKE, {"username": member[0], "resource_type": "experiment", "resource_id": experiment})
    assert statuses() == [403] * 5
    assert scene.status(f"{scorers}/delete", member, scorer, "DELETE") == 403
    scene.grant("experiment", experiment, "READ", member)
    assert statuses() == [200] * 5
    assert scene.status(f"{scorers}/delete", member, scorer, "DELETE") == 200


def test_a_denied_experiment_hides_its_scorers(scene: Scene) -> None:
    experiment, name = scene.experiment(scene.owner), scene.new("scorer")
    reader = scene.server.member(scene.new("reader"))
    register(scene, experiment, name, scene.owner)
    scene.role(reader, "scorer", "*", "READ")
    scene.role(reader, "experiment", "*", "READ")
    asked = [f"{SCORERS}/{route}?experiment_id={experiment}&name={name}" for route in ("get", "versions")]
    assert [scene.status(each, reader) for each in asked] == [200, 200]
    scene.grant("experiment", experiment, "DENY", reader)
    assert [scene.status(each, reader) for each in asked] == [403, 403]


def test_a_denied_experiment_lends_no_scorer_to_a_guardrail(scene: Scene) -> None:
    experiment, name = scene.experiment(), scene.new("scorer")
    editor = scene.server.member(scene.new("editor"))
    register(scene, experiment, name, ADMIN)
    found = scene.make(f"{SCORERS}/get?experiment_id={experiment}&name={name}", None, method="GET")["scorer"]
    guardrail = {"name": name, "scorer_id": found["scorer_id"], "scorer_version": 1}
    made = scene.make(f"{GUARDRAILS}/create", {**guardrail, "stage": "BEFORE", "action": "VALIDATION"})["guardrail"]
    _, identifier = endpoint(scene)
    scene.grant("gateway_endpoint", identifier, "EDIT", editor)
    added = {"endpoint_id": identifier, "guardrail_id": made["guardrail_id"]}
    scene.grant("experiment", experiment, "DENY", editor)
    assert scene.status(f"{GUARDRAILS}/add-to-endpoint", editor, added) == 403
    scene.make(REVOKE, {"username": editor[0], "resource_type": "experiment", "resource_id": experiment})
    assert scene.status(f"{GUARDRAILS}/add-to-endpoint", editor, added) == 200


# --- scorers and their versions ---


def test_a_scorer_keeps_its_permissions_while_it_has_versions(scene: Scene) -> None:
    experiment, name = scene.experiment(), scene.new("scorer")
    author, heir, reader = (scene.server.member(scene.new(each)) for each in ("author", "heir", "reader"))
    for login, permission in ((author, "EDIT"), (heir, "EDIT"), (reader, "READ")):
        scene.grant("experiment", experiment, permission, login)
    register(scene, experiment, name, author)
    register(scene, experiment, name, heir)
    scene.grant("scorer", f"{experiment}/{name}", "READ", reader)
    scorer, asked = {"experiment_id": experiment, "name": name}, f"{SCORERS}/get?experiment_id={experiment}&name={name}"

    def delete(version: int) -> None:
        scene.make(f"{SCORERS}/delete", {**scorer, "version": version}, author, "DELETE")

    delete(1)
    assert [scene.status(asked, login) for login in (author, reader, heir)] == [200, 200, 403]
    delete(2)
    assert [name in granted(scene, login) for login in (author, reader)] == [False, False]
    register(scene, experiment, name, heir)
    assert [scene.status(asked, login) for login in (author, reader, heir)] == [403, 403, 200]


# --- new objects and their creators ---


def skipped(scene: Scene, kind: str) -> None:
    if kind == "skill" and scene.server.case.version != HAS_SKILLS:
        pytest.skip("this MLflow has no skills")


def request_of(scene: Scene, kind: str, name: str) -> tuple[str, Any]:
    """Return the path and the body of a request that creates or renames an object."""
    if kind == "renamed model":
        old = scene.new("model")
        scene.make(f"{V2}/registered-models/create", {"name": old}, scene.owner)
        return f"{V2}/registered-models/rename", {"name": old, "new_name": name}
    scorer = {"name": name, "serialized_scorer": "{}"}
    return {
        "experiment": lambda: (f"{V2}/experiments/create", {"name": name}),
        "model": lambda: (f"{V2}/registered-models/create", {"name": name}),
        "prompt": lambda: (f"{V2}/registered-models/create", {"name": name, "tags": PROMPT}),
        "scorer": lambda: (f"{SCORERS}/register", {**scorer, "experiment_id": scene.experiment(scene.owner)}),
        "MCP server": lambda: (MCP, {"name": name}),
        "version of an MCP server": lambda: (
            f"{MCP}/{name}/versions",
            {"server_json": {"name": name, "version": "1.0.0"}},
        ),
        "skill": lambda: (SKILLS, {"name": name}),
    }[kind]()


TABLES = {
    "experiment": "experiments WHERE name = ?",
    "model": "registered_models WHERE name = ?",
    "prompt": "registered_models WHERE name = ?",
    "renamed model": "registered_models WHERE name = ?",
    "scorer": "scorers WHERE scorer_name = ?",
    "MCP server": "mcp_servers WHERE name = ?",
    "version of an MCP server": "mcp_servers WHERE name = ?",
    "skill": "skills WHERE name = ?",
}


@pytest.mark.parametrize("kind", TABLES)
def test_nobody_sees_an_object_before_its_creator_may_manage_it(scene: Scene, kind: str) -> None:
    skipped(scene, kind)
    name = f"com.example/{scene.new('server')}" if "MCP" in kind else scene.new("named")
    path, body = request_of(scene, kind, name)
    with closing(rows(scene, "auth.db")) as logins, closing(rows(scene, "tracking.db")) as objects:
        with ThreadPoolExecutor(1) as pool:
            logins.execute("BEGIN IMMEDIATE")  # the request reads permissions, then waits for this lock
            answer = pool.submit(scene.status, path, scene.owner, body)
            time.sleep(2)
            seen = objects.execute(f"SELECT count(*) FROM {TABLES[kind]}", (name,)).fetchone()
            waits = not answer.done()
            logins.execute("COMMIT")
            assert answer.result() in (200, 201)
        assert (seen, waits) == ((0,), True)
        assert objects.execute(f"SELECT count(*) FROM {TABLES[kind]}", (name,)).fetchone() == (1,)
        number = objects.execute("SELECT experiment_id FROM experiments WHERE name = ?", (name,)).fetchone()
    assert f"'{number[0]}'" in granted(scene, scene.owner) if number else name in granted(scene, scene.owner)


ENDS = {
    "model": lambda name: (f"{V2}/registered-models/delete", {"name": name}),
    "prompt": lambda name: (f"{V2}/registered-models/delete", {"name": name}),
    "MCP server": lambda name: (f"{MCP}/{name}", None),
    "skill": lambda name: (f"{SKILLS}/{name}", None),
}


@pytest.mark.parametrize("kind", ENDS)
def test_the_permissions_on_an_object_end_before_the_object(scene: Scene, kind: str) -> None:
    skipped(scene, kind)
    name = f"com.example/{scene.new('server')}" if "MCP" in kind else scene.new("named")
    path, body = request_of(scene, kind, name)
    scene.make(path, body, scene.owner)
    path, body = ENDS[kind](name)
    with closing(rows(scene, "auth.db")) as logins, closing(rows(scene, "tracking.db")) as objects:
        with ThreadPoolExecutor(1) as pool:
            logins.execute("BEGIN IMMEDIATE")
            answer = pool.submit(scene.status, path, scene.owner, body, "DELETE")
            time.sleep(2)
            seen = objects.execute(f"SELECT count(*) FROM {TABLES[kind]}", (name,)).fetchone()
            waits = not answer.done()
            logins.execute("COMMIT")
            assert answer.result() in (200, 204)
        assert (seen, waits) == ((1,), True)
        assert objects.execute(f"SELECT count(*) FROM {TABLES[kind]}", (name,)).fetchone() == (0,)
    assert name not in granted(scene, scene.owner)


@pytest.mark.parametrize("kind", ENDS)
def test_deleting_an_object_keeps_permissions_on_the_next_object_of_that_name(scene: Scene, kind: str) -> None:
    skipped(scene, kind)
    name = f"com.example/{scene.new('server')}" if "MCP" in kind else scene.new("named")
    path, body = request_of(scene, kind, name)
    scene.make(path, body, scene.owner)
    own = scene.experiment(scene.mia)
    path, body = ENDS[kind](name)
    with closing(rows(scene, "auth.db")) as logins:
        # as if mia had used the name as soon as it was free
        logins.executescript(
            f"""
            CREATE TABLE taken (name TEXT);
            CREATE TRIGGER taking AFTER DELETE ON role_permissions
            WHEN OLD.resource_pattern = '{name}' AND NOT EXISTS (SELECT 1 FROM taken) BEGIN
                INSERT INTO taken VALUES (OLD.resource_pattern);
                INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission)
                SELECT role_id, OLD.resource_type, OLD.resource_pattern, permission FROM role_permissions
                WHERE resource_type = 'experiment' AND resource_pattern = '{own}';
            END;
            """
        )
        try:
            scene.make(path, body, scene.owner, "DELETE")
            assert logins.execute("SELECT count(*) FROM taken").fetchone() == (1,)
        finally:
            logins.executescript("DROP TRIGGER taking; DROP TABLE taken;")
    assert [name in granted(scene, login) for login in (scene.owner, scene.mia)] == [False, True]


@pytest.mark.parametrize("kind", [kind for kind in TABLES if kind not in ("experiment", "scorer", "renamed model")])
def test_a_creator_gets_one_permission_and_none_on_the_next_object_of_that_name(scene: Scene, kind: str) -> None:
    skipped(scene, kind)
    name = f"com.example/{scene.new('server')}" if "MCP" in kind else scene.new("named")
    path, body = request_of(scene, kind, name)
    with closing(rows(scene, "auth.db")) as logins:
        # as if another user had used the name as soon as the object existed
        logins.executescript(
            f"""
            CREATE TABLE taken (name TEXT);
            CREATE TRIGGER taking AFTER INSERT ON role_permissions
            WHEN NEW.resource_pattern = '{name}' AND NOT EXISTS (SELECT 1 FROM taken) BEGIN
                INSERT INTO taken VALUES (NEW.resource_pattern);
                DELETE FROM role_permissions WHERE id = NEW.id;
            END;
            """
        )
        try:
            scene.make(path, body, scene.owner)
            assert logins.execute("SELECT count(*) FROM taken").fetchone() == (1,)
        finally:
            logins.executescript("DROP TRIGGER taking; DROP TABLE taken;")
    assert name not in granted(scene, scene.owner)


def test_a_rename_moves_no_permissions_on_the_next_object_of_that_name(scene: Scene) -> None:
    new = scene.new("named")
    path, body = request_of(scene, "renamed model", new)
    other = scene.new("model")
    scene.make(f"{V2}/registered-models/create", {"name": other}, scene.mia)
    with closing(rows(scene, "auth.db")) as logins:
        # as if mia had used the old name as soon as it was free
        logins.executescript(
            f"""
            CREATE TRIGGER moving AFTER UPDATE OF resource_pattern ON role_permissions
            WHEN NEW.resource_pattern = '{new}' BEGIN
                UPDATE role_permissions SET resource_pattern = '{body["name"]}' WHERE resource_pattern = '{other}';
            END;
            """
        )
        try:
            scene.make(path, body, scene.owner)
        finally:
            logins.executescript("DROP TRIGGER moving;")
    asked = f"{V2}/registered-models/get?name={new}"
    assert [scene.status(asked, login) for login in (scene.owner, scene.mia)] == [200, 403]
    assert body["name"] in granted(scene, scene.mia)


def test_an_experiment_made_by_mlflow_for_a_request_does_not_belong_to_the_sender(scene: Scene) -> None:
    name, _ = endpoint(scene)  # MLflow creates an experiment for the endpoint's traces
    found = scene.make(f"{V2}/experiments/search", {"filter": f"name LIKE '%{name}'", "max_results": 2})["experiments"]
    (made,) = (each["experiment_id"] for each in found)
    assert f"'{made}'" not in granted(scene, ADMIN)
    asked = scene.experiment()
    assert f"'{asked}'" in granted(scene, ADMIN)
