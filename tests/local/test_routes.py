"""Requests of strangers, members and the admin to every route of the running application follow the list of routes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from deployer.catalogue import PLUGINS
from deployer.core.spec.versions import DEFAULT_MLFLOW
from deployer.plugin.permissions import routes
from tests.local.fake_model import fake_model
from tests.support.machine import Machine, watched
from tests.support.servers import free_port, running

SCRIPT = Path(__file__).with_name("serve_and_list_routes.py")
LINES = [line for line in routes.parse(routes.FILE.read_text()) if routes.minor(DEFAULT_MLFLOW) in line.versions]
LISTED = routes.permissions(LINES, None)
OPEN = {
    "/health",
    "/health/stores",
    "/static-files/<path:path>",
    "/api/3.0/mlflow/server-info",
    "/ajax-api/3.0/mlflow/server-info",
}
DELETED = ("gone", "the-password-of-a-deleted-user")
MEMBER = ("member", "the-password-of-a-member")
ASSISTANT = "ajax-api/3.0/mlflow/assistant"


@dataclass(frozen=True)
class Walked:
    """A running application and its routes as (method, path template)."""

    address: str
    routes: tuple[tuple[str, str], ...]
    extra: tuple[tuple[str, str], ...]
    admin: tuple[str, str]
    machine: Machine
    log: Path

    def listed_as(self, *who: str) -> list[tuple[str, str]]:
        """Return the routes that the list gives to these users."""
        return [route for route in self.routes if LISTED.get(route) in who]

    def ask(self, route: tuple[str, str], login: tuple[str, str] | None) -> int:
        """Return the status of a request with all parameters filled in; do not read the answer's body."""
        method, path = route[0], filled(route[1])
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

    def status_and_error(self, route: tuple[str, str], login: tuple[str, str] | None) -> tuple[int, str]:
        """Return the status of a request and the error code of its answer."""
        with requests.Session() as session:
            session.trust_env = False
            method, path = route[0], filled(route[1])
            body = None if method == "GET" else {}
            answer = session.request(method, self.address + path, auth=login, json=body, timeout=300)
            is_json = answer.headers.get("Content-Type", "").startswith("application/json")
            return answer.status_code, answer.json().get("error_code", "") if is_json else ""

    def raw(self, method: str, path: str, login: tuple[str, str]) -> int:
        """Send a request with an unchanged path; return the status after redirects."""
        for _ in range(5):
            connection = HTTPConnection(self.address.removeprefix("http://"), timeout=300)
            basic = requests.auth._basic_auth_str(*login)
            headers = {"Authorization": basic, "Content-Type": "application/json"}
            connection.request(method, path, "{}", headers)
            answer = connection.getresponse()
            place = answer.getheader("Location")
            connection.close()
            if place is None:
                return answer.status
            path = place.removeprefix(self.address)
        raise AssertionError(f"redirects without end: {path}")


def filled(template: str) -> str:
    """Return a path with all parameters filled in."""
    return re.sub(r"<(?:\w+:)?\w+>|\{[^}]+\}", "1", template)


def spellings(path: str) -> Iterable[str]:
    """Yield spellings that some layer may read as the same path."""
    head, _, last = path.rpartition("/")
    other = "/api/" if path.startswith("/ajax-api/") else "/ajax-api/"
    yield from (f"{path}/", f"/{path}", path.replace("/", "//"), f"{head}//{last}", f"{head}/./{last}", f"/x/..{path}")
    yield from (path.upper(), path.title(), path[:-1] + path[-1:].swapcase(), re.sub("^/(ajax-)?api/", other, path))
    yield from (f"{path};x=1", f"{path}?x=1", f"{path}%20", f"{path}%00", f"{path}%2f", quote(path, safe=""))
    yield from (
        f"/%{ord(path[1]):02x}{path[2:]}",
        path.replace("/", "%2f")[3:],
        f"{head}%2F{last}",
        path.replace("/", "\\"),
    )
    yield from (f"/static-files{path}", f"/health{path}", f"/static-files/..{path}", f"http://127.0.0.1{path}")


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
        [machine.server_python(), str(SCRIPT), str(found), "extra"],
        {**env, "PYTHONPATH": str(PLUGINS), "MLFLOW_PORT": str(port)},
        port,
        path="health/stores",
    )
    with watched([machine]), serving as address:
        listed = json.loads(found.read_text())
        routes = {(route["method"], route["path"]) for route in listed["routes"] if route["path"]}
        # FastAPI's schema, an independent list, contains no other route
        assert {re.sub(r":\w+\}", "}", path) for _, path in routes} >= set(listed["documented"])
        assert {route["side"] for route in listed["routes"]} == {"flask", "fastapi"}
        users = f"{address}/api/2.0/mlflow/users"
        user = {"username": DELETED[0], "password": DELETED[1]}
        assert requests.post(f"{users}/create", json=user, auth=admin, timeout=30).ok
        assert requests.get(f"{users}/current", auth=DELETED, timeout=30).ok
        assert requests.delete(f"{users}/delete", json={"username": DELETED[0]}, auth=admin, timeout=30).ok
        member = {"username": MEMBER[0], "password": MEMBER[1]}
        assert requests.post(f"{users}/create", json=member, auth=admin, timeout=30).ok
        extra = [(method, path) for method, path in listed["extra"]]
        walked = tuple(sorted(routes - set(extra) - {("", "")}))
        yield Walked(address, walked, tuple(extra), admin, machine, Path(env["HOME"]) / "server.log")


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
    answers = walked.ask_all(login, at_once=64)  # repeated wrong passwords wait a second
    assert {route for route, status in answers.items() if status != 401} == {
        route for route in walked.routes if route[1] in OPEN
    }


def test_unknown_paths_are_closed_and_the_favicon_is_open(walked: Walked) -> None:
    for path in ("/no/such/page", "/api/2.0/mlflow/no/such", "/metrics", "/version", "/"):
        assert walked.ask(("GET", path), None) == 401
    assert walked.ask(("GET", "/favicon.ico"), None) in {200, 404}


def test_the_list_matches_the_routes_of_the_application(walked: Walked) -> None:
    assert set(LISTED) == set(walked.routes)


def test_the_list_names_each_route_once_with_its_users_and_reach() -> None:
    keys = [key for line in LINES for key in line.keys]
    assert len(keys) == len(set(keys))
    assert {line.who for line in LINES} == {"nobody", "admin", "anyone", "login"}
    reaches = {"files", "programs", "network", "rows", "users"}
    assert all(line.reach == {"none"} or line.reach <= reaches for line in LINES)
    assert {line.who for line in LINES if "programs" in line.reach} == {"nobody"}
    assert {path for (_, path), who in LISTED.items() if who == "anyone"} == OPEN


def test_a_closed_route_is_closed_to_everybody(walked: Walked) -> None:
    closed = walked.listed_as("nobody")
    assert len([path for _, path in closed if path.startswith(f"/{ASSISTANT}/")]) == 11
    assert {route: walked.status_and_error(route, walked.admin) for route in closed} == dict.fromkeys(
        closed, (403, "PERMISSION_DENIED")
    )
    # MLflow's own check comes first, and may want to know which object is meant
    assert {walked.ask(route, MEMBER) for route in closed} <= {400, 403, 404}
    assert {walked.status_and_error(route, MEMBER) for route in closed if ASSISTANT in route[1]} == {
        (403, "PERMISSION_DENIED")
    }
    assert {walked.ask(route, None) for route in closed} == {401}


def test_no_spelling_of_its_path_opens_a_closed_route(walked: Walked) -> None:
    ways = [(method, way) for method, path in walked.listed_as("nobody") for way in spellings(filled(path))]
    asked = [(*way, login) for way in ways for login in (MEMBER, walked.admin)]
    with ThreadPoolExecutor(4) as pool:
        answers = zip(asked, pool.map(lambda one: walked.raw(*one), asked), strict=True)
    assert {asked: status for asked, status in answers if not 400 <= status < 500} == {}


def test_routes_for_administrators_are_closed_to_members(walked: Walked) -> None:
    for_admins = walked.listed_as("admin")
    # MLflow's own check comes first, and may want to know which object is meant
    assert {walked.ask(route, MEMBER) for route in for_admins} <= {400, 403}
    answers = {route: walked.status_and_error(route, walked.admin) for route in for_admins if "demo" not in route[1]}
    assert {route for route, told in answers.items() if told == (403, "PERMISSION_DENIED")} == set()


def test_a_member_neither_sets_up_providers_nor_reads_the_grants_of_others(walked: Walked) -> None:
    """The member has a permission, as every creator of an experiment; MLflow alone would allow all these requests."""
    with requests.Session() as member:
        member.auth, member.trust_env = MEMBER, False
        created = member.post(f"{walked.address}/api/2.0/mlflow/experiments/create", json={"name": "own"}, timeout=60)
        assert created.status_code == 200
        secret = {"secret_name": "own", "provider": "ollama", "secret_value": {"api_key": "k"}}
        api = f"{walked.address}/api/3.0/mlflow"
        asked = ("list?workspace=default", "get?role_id=1", "permissions/list?role_id=1")
        told = [member.get(f"{api}/roles/{path}", timeout=60) for path in asked]
        told.append(member.post(f"{api}/gateway/secrets/create", json=secret, timeout=60))
    assert [(answer.status_code, answer.json().get("error_code")) for answer in told] == [
        (403, "PERMISSION_DENIED")
    ] * 4


def test_an_unlisted_route_is_closed_and_logged_once(walked: Walked) -> None:
    for login in (walked.admin, MEMBER):
        assert {route: walked.status_and_error(route, login) for route in walked.extra} == dict.fromkeys(
            walked.extra, (403, "PERMISSION_DENIED")
        )
    assert {walked.ask(route, None) for route in walked.extra} == {401, 403}  # 403 on routes without a login in MLflow
    said = [line for line in walked.log.read_text().splitlines() if line.startswith("deployer: closed")]
    assert len(said) == 1
    assert all(f"{method} {path.rstrip('/')}" in said[0].replace("* ", "GET ") for method, path in walked.extra)


def test_a_member_cannot_have_a_model_read_and_write_files(walked: Walked) -> None:
    """The model requests tools, which MLflow's assistant would run for any login from this machine."""
    secrets, written = walked.machine.state / "servers" / "mlflow" / "secrets.json", walked.machine.home / "written"
    wants = ("Read", {"file_path": str(secrets)}), ("Write", {"file_path": str(written), "content": "by a model"})
    with fake_model(*wants) as model, requests.Session() as member:
        member.auth, member.trust_env = MEMBER, False
        provider = {"model": "m", "selected": True, "base_url": model.address, "permissions": {"full_access": True}}
        asked = f"{walked.address}/{ASSISTANT}"
        told = [
            member.put(f"{asked}/config", json={"providers": {"ollama": provider}}, timeout=60),
            member.post(f"{asked}/message", json={"message": "Hello"}, timeout=60),
        ]
        session = told[-1].json().get("session_id", "1")
        told.append(member.get(f"{asked}/sessions/{session}/stream", timeout=60))
    assert [answer.status_code for answer in told] == [403] * 3
    assert (model.told, model.results) == ([], [])
    assert not written.exists()


def test_the_admin_is_never_refused_with_401(walked: Walked) -> None:
    """This test is the last because some of its requests change the server."""
    answers = walked.ask_all(walked.admin)
    assert [route for route, status in answers.items() if status == 401] == []
    assert walked.ask(("GET", "/api/2.0/mlflow/users/current"), walked.admin) == 200
