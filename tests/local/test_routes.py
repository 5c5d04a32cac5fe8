"""Every route of the running application, asked by strangers and by the admin: nothing is open that should not be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from deployer.catalogue import PLUGINS
from tests.local.machine import Machine, watched
from tests.local.servers import free_port, running

SCRIPT = Path(__file__).with_name("serve_and_list_routes.py")
OPEN = {
    "/health",
    "/health/stores",
    "/static-files/<path:path>",
    "/api/3.0/mlflow/server-info",
    "/ajax-api/3.0/mlflow/server-info",
}
DELETED = ("gone", "the-password-of-a-deleted-user")


@dataclass(frozen=True)
class Walked:
    """A running application and its routes as (method, path template)."""

    address: str
    routes: tuple[tuple[str, str], ...]
    admin: tuple[str, str]

    def ask(self, route: tuple[str, str], login: tuple[str, str] | None) -> int:
        """Return the status of a request by that method, every parameter filled in; the body is not read."""
        method, template = route
        path = re.sub(r"<(?:\w+:)?\w+>|\{[^}]+\}", "1", template)
        body = {} if method in {"POST", "PUT", "PATCH"} else None
        with requests.Session() as session:
            session.trust_env = False
            with session.request(
                method, self.address + path, auth=login, json=body, timeout=300, stream=True, allow_redirects=False
            ) as answer:
                return answer.status_code

    def ask_all(self, login: tuple[str, str] | None, at_once: int = 4) -> dict[tuple[str, str], int]:
        with ThreadPoolExecutor(at_once) as pool:
            return dict(zip(self.routes, pool.map(lambda route: self.ask(route, login), self.routes), strict=True))


@pytest.fixture(scope="module")
def walked(environments: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walked]:
    machine = Machine(tmp_path_factory.mktemp("routes"))
    machine.share(environments)
    found = machine.home / "routes.json"
    machine.create()
    port = free_port()
    words = Path(f"/proc/{machine.pid()}/environ").read_text().split("\0")
    env = dict(word.split("=", 1) for word in words if word and not word.startswith("LISTEN_"))
    admin = ("admin", machine.password())
    machine.run("stop")
    serving = running(
        [machine.server_python(), str(SCRIPT), str(found)],
        {**env, "PYTHONPATH": str(PLUGINS), "MLFLOW_PORT": str(port)},
        port,
        path="health/stores",
    )
    with watched([machine]), serving as address:
        listed = json.loads(found.read_text())
        routes = {(route["method"], route["path"]) for route in listed["routes"] if route["path"]}
        # a second list, made by FastAPI in another way, has nothing that the first lacks
        assert {re.sub(r":\w+\}", "}", path) for _, path in routes} >= set(listed["documented"])
        assert {route["side"] for route in listed["routes"]} == {"flask", "fastapi"}
        users = f"{address}/api/2.0/mlflow/users"
        user = {"username": DELETED[0], "password": DELETED[1]}
        assert requests.post(f"{users}/create", json=user, auth=admin, timeout=30).ok
        assert requests.get(f"{users}/current", auth=DELETED, timeout=30).ok
        assert requests.delete(f"{users}/delete", json={"username": DELETED[0]}, auth=admin, timeout=30).ok
        yield Walked(address, tuple(sorted(routes)), admin)


def test_there_are_routes_of_both_frameworks(walked: Walked) -> None:
    paths = {path for _, path in walked.routes}
    assert len(walked.routes) > 400
    assert {"/health/stores", "/graphql", "/signup", "/api/2.0/mlflow/runs/create"} <= paths
    assert "/api/2.0/mlflow-artifacts/artifacts/{artifact_path:path}" in paths


@pytest.mark.parametrize(
    "login", [None, ("admin", "not-the-password"), DELETED], ids=["anonymous", "wrong password", "deleted user"]
)
def test_strangers_get_exactly_401_everywhere_but_on_the_open_routes(
    walked: Walked, login: tuple[str, str] | None
) -> None:
    answers = walked.ask_all(login, at_once=64)  # who brings the same wrong password again waits a second
    assert {route for route, status in answers.items() if status != 401} == {
        route for route in walked.routes if route[1] in OPEN
    }


def test_unknown_paths_are_closed_and_the_favicon_is_open(walked: Walked) -> None:
    for path in ("/no/such/page", "/api/2.0/mlflow/no/such", "/metrics", "/version", "/"):
        assert walked.ask(("GET", path), None) == 401
    assert walked.ask(("GET", "/favicon.ico"), None) in {200, 404}


def test_the_admin_is_never_refused_with_401(walked: Walked) -> None:
    """Last, because it walks through routes that change things."""
    answers = walked.ask_all(walked.admin)
    assert [route for route, status in answers.items() if status == 401] == []
    assert walked.ask(("GET", "/api/2.0/mlflow/users/current"), walked.admin) == 200
