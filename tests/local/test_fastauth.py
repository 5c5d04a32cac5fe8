"""Password checks in the real server: their cost, the logins they refuse, and the clients they delay."""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from deployer.catalogue import PLUGINS
from deployer.core.stack import sizing
from tests.local.fault_injection import ADMIN, ANNA, BERT, SCRIPT, Serve, add, client, counted, fault_injection, who
from tests.support.load import API
from tests.support.machine import Machine
from tests.support.servers import free_port, settings

EX_CONFIG = 78


def statements(address: str, login: tuple[str, str] | None) -> dict[str, int]:
    """Return the number of SQL statements of each kind of request, with cached user and run."""
    with client(login) as session:

        def send(method: str, path: str, body: dict[str, Any]) -> Any:
            options = {"params" if method == "GET" else "json": body}
            answer = session.request(method, f"{address}/{path}", timeout=60, **options)
            answer.raise_for_status()
            return answer.json()

        name = f"of {login}"
        experiment = send("POST", f"{API}/experiments/create", {"name": name})["experiment_id"]
        run = send("POST", f"{API}/runs/create", {"experiment_id": experiment, "start_time": 1})["run"]["info"]
        metric = {"key": "m", "value": 1, "step": 1, "timestamp": 1}
        kinds = {
            "runs/get": ("GET", f"{API}/runs/get", {"run_id": run["run_id"]}),
            "experiments/get": ("GET", f"{API}/experiments/get", {"experiment_id": experiment}),
            "experiments/search": ("POST", f"{API}/experiments/search", {"max_results": 1}),
            "runs/search": ("POST", f"{API}/runs/search", {"experiment_ids": [experiment], "max_results": 10}),
            "log-batch": ("POST", f"{API}/runs/log-batch", {"run_id": run["run_id"], "metrics": [metric]}),
            "artifacts": ("GET", f"{API}-artifacts/artifacts", {"path": f"{experiment}/{run['run_id']}/artifacts"}),
        }
        found = {}
        for kind, request in kinds.items():
            send(*request)
            counted(address)
            send(*request)
            found[kind] = len(counted(address)["statements"])
        return found


@pytest.fixture(scope="module")
def usual(environments: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server without a fault, for tests without many guesses and without special settings."""
    (python,) = map(str, environments.glob("mlflow-*/bin/python"))
    with fault_injection(python, tmp_path_factory.mktemp("usual"))("usual") as address:
        yield address


@pytest.fixture
def anna(usual: str) -> tuple[str, str]:
    """A new member of `usual`."""
    login = (f"anna-{secrets.token_hex(4)}@uni.example", ANNA[1])
    add(usual, login)
    return login


def test_a_login_costs_one_statement_and_permissions_two_more(serve: Serve, usual: str, anna: tuple[str, str]) -> None:
    with serve("open") as address:
        bare = statements(address, None)
    assert statements(usual, ADMIN) == {kind: count + 1 for kind, count in bare.items()}
    over = {kind: count - bare[kind] for kind, count in statements(usual, anna).items()}
    assert max(over.values()) <= 3, over


def test_a_password_is_checked_once_even_if_wrong_or_of_an_unknown_user(usual: str, anna: tuple[str, str]) -> None:
    for login, status in ((anna, 200), ((anna[0], "wrong"), 401), (("nobody", "wrong"), 401)):
        counted(usual)
        assert [who(usual, login).status_code for _ in range(3)] == [status] * 3
        assert counted(usual)["checks"] == 1, login


@pytest.mark.timeout(1200)
def test_many_first_logins_at_once_stay_within_the_computed_memory(serve: Serve, tmp_path: Path, soak: bool) -> None:
    people = [f"person {number}" for number in range(500 if soak else 60)]
    with serve("usual", first=True) as address:
        add(address, ANNA)
        with closing(sqlite3.connect(tmp_path / "usual/auth.db", timeout=60)) as database, database:
            copy = "INSERT INTO users (username, password_hash, is_admin) SELECT ?, password_hash, 0"
            database.executemany(f"{copy} FROM users WHERE username = ?", [(name, ANNA[0]) for name in people])
        counted(address)

        def come(name: str) -> int:
            url = f"{address}/{API}/users/current"
            return requests.get(url, auth=(name, ANNA[1]), timeout=600).status_code

        with ThreadPoolExecutor(len(people)) as pool:
            assert set(pool.map(come, people)) == {200}
        told = counted(address)
        assert told["checks"] == len(people)
        assert told["peak"] <= sizing.server_resources().memory_limit


def test_the_configured_number_of_requests_is_served_at_once(serve: Serve) -> None:
    with serve("usual", DEPLOYER_THREADS="3") as address:
        assert counted(address)["threads"] == 3


def test_guesses_are_slowed_for_the_guesser_alone(serve: Serve) -> None:
    def from_(address: str) -> dict[str, str]:
        return {"X-Forwarded-For": f"198.51.100.7, {address}"}

    with serve("usual", DEPLOYER_FORWARDED="true") as address:
        add(address, ANNA, BERT)
        assert who(address, ANNA, **from_("192.0.2.1")).status_code == 200
        told = [who(address, (ANNA[0], f"guess {n}"), **from_("192.0.2.1")).status_code for n in range(20)]
        assert told == [401] * 20
        with ThreadPoolExecutor(100) as pool:
            # up to 64 further guesses wait in the queue
            asked = [pool.submit(who, address, (ANNA[0], f"more {n}"), **from_("192.0.2.1")) for n in range(80)]
            refused = next(done for done in map(Future.result, as_completed(asked)) if done.status_code != 401)
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["Retry-After"]) <= 5
            assert "Too many wrong passwords" in refused.text
            # unaffected: a cached login, a colleague at the same address, the user elsewhere, a cached wrong password
            assert who(address, ANNA, **from_("192.0.2.1")).status_code == 200
            assert who(address, BERT, **from_("192.0.2.1")).status_code == 200
            assert who(address, (ANNA[0], "mistyped"), **from_("192.0.2.2")).status_code == 401
            same = pool.map(lambda _: who(address, (ANNA[0], "guess 0"), **from_("192.0.2.1")).status_code, range(30))
            assert set(same) == {401}


def test_a_guess_in_another_spelling_is_counted_too(serve: Serve) -> None:
    path = f"{API}-artifacts/artifacts"
    with serve("usual") as address:

        def guess(user: str, spelling: bytes) -> tuple[set[int], float]:
            begun, told = time.monotonic(), set()
            for number in range(22):
                line = spelling.replace(b"%b", base64.b64encode(f"{user}:guess {number}".encode()))
                told.add(requests.get(f"{address}/{path}", headers={"Authorization": line}, timeout=60).status_code)
            return told, time.monotonic() - begun

        with ThreadPoolExecutor(2) as pool:
            for told, seconds in pool.map(guess, ("anna", "bert"), (b"\xa0Basic %b", b"Basic\xa0%b")):
                assert told == {401}
                assert seconds >= 9  # twenty guesses are free, each further guess waits five seconds


def test_a_custom_authentication_function_decides_about_logins(serve: Serve) -> None:
    with serve("own way", OWN_PASSWORD="a-token") as address:
        for path in (f"{API}/experiments/get?experiment_id=0", f"{API}-artifacts/artifacts"):
            for password, status in (("a-token", 200), ("another", 401)):
                answer = requests.get(f"{address}/{path}", auth=("anybody", password), timeout=60)
                assert answer.status_code == status, (path, password)


def test_a_guess_by_another_scheme_is_not_even_checked(usual: str, anna: tuple[str, str]) -> None:
    counted(usual)
    for number in range(5):
        line = {"Authorization": f'Digest username="{anna[0]}", password="guess {number}"'}
        assert requests.get(f"{usual}/{API}/users/current", headers=line, timeout=60).status_code == 401
    assert counted(usual)["checks"] == 0


def test_a_slow_request_is_refused_when_its_user_is_deleted_meanwhile(usual: str, anna: tuple[str, str]) -> None:
    bert = ("bert-who-stays", BERT[1])
    add(usual, bert)
    host, _, port = usual.removeprefix("http://").partition(":")
    body = json.dumps({"name": "of somebody who is gone"}).encode()

    def begin(login: tuple[str, str], *headers: str) -> socket.socket:
        told = base64.b64encode(":".join(login).encode()).decode()
        lines = [f"POST /{API}/experiments/create HTTP/1.1", f"Host: {host}:{port}", f"Authorization: Basic {told}"]
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close", *headers]
        connection = socket.create_connection((host, int(port)), timeout=30)
        connection.sendall("\r\n".join([*lines, "Expect: 100-continue", "", ""]).encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")  # only the body is still missing
        return connection

    def end(connection: socket.socket) -> bytes:
        with connection, connection.makefile("rb") as answer:
            connection.sendall(body)
            return answer.read().split(b" ", 2)[1]

    # the login of the first request is not cached yet; the third request takes the longer way through Flask
    waiting = [begin(anna)]
    assert who(usual, anna).status_code == who(usual, bert).status_code == 200
    waiting += [begin(anna), begin(anna, "X-MLFLOW-WORKSPACE: ")]
    staying = begin(bert, "X-MLFLOW-WORKSPACE: ")
    with client(ADMIN) as admin:
        gone = admin.delete(f"{usual}/{API}/users/delete", json={"username": anna[0]}, timeout=60)
        assert gone.status_code == 200
    assert [end(connection) for connection in waiting] == [b"401"] * 3
    assert end(staying) == b"200"


def test_a_slow_password_check_delays_no_other_user(serve: Serve, tmp_path: Path) -> None:
    stuck = tmp_path / "held"
    with serve("stuck", STUCK=str(stuck)) as address:
        add(address, ANNA)
        assert who(address, ADMIN).status_code == 200
        stuck.touch()
        answers: list[int] = []
        # more requests than serving threads, on a route of Flask and on a route served by the event loop
        paths = [f"{API}/users/current", f"{API}-artifacts/artifacts"]

        def ask(number: int) -> None:
            url = f"{address}/{paths[number % 2]}"
            answers.append(requests.get(url, auth=(f"user {number}", "x"), timeout=300).status_code)

        asking = [threading.Thread(target=ask, args=(number,)) for number in range(45)]
        for thread in asking:
            thread.start()
        with client(ADMIN) as session:
            for path in ("health", *paths) * 3:
                assert session.get(f"{address}/{path}", timeout=20).status_code == 200
        assert answers == []
        stuck.unlink()
        for thread in asking:
            thread.join(300)
        assert answers == [401] * 45


def test_an_exception_in_the_check_refuses_every_login(serve: Serve) -> None:
    with serve("failing") as address:
        for path in (f"{API}/users/current", f"{API}-artifacts/artifacts", f"{API}/experiments/search"):
            for login in (ADMIN, (ADMIN[0], "wrong")):
                assert requests.get(f"{address}/{path}", auth=login, timeout=60).status_code == 503
        assert who(address, None).status_code == 401


@pytest.mark.parametrize("path", [f"{API}/users/current", f"{API}-artifacts/artifacts"])
def test_an_invalid_login_gets_401_even_after_a_valid_login_on_the_same_connection(usual: str, path: str) -> None:
    told = base64.b64encode(":".join(ADMIN).encode()).decode()
    parts = f'username="{ADMIN[0]}", password="{ADMIN[1]}"'  # Flask reads these in any scheme
    odd = [
        "",
        "Bearer token",
        f"Digest {parts}",
        f"Anything {parts}",
        "Negotiate abc",
        "Basic",
        "Basic !!!!",
        "Basic AGE6Yg==",
    ]
    host, _, port = usual.removeprefix("http://").partition(":")

    def request(*headers: str) -> bytes:
        lines = [f"GET /{path} HTTP/1.1", f"Host: {host}:{port}", *(f"Authorization: {text}" for text in headers)]
        return "\r\n".join([*lines, "", ""]).encode()

    for text in odd:
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(request(f"Basic {told}") + request(*filter(None, [text])))
            statuses, seen = [], b""
            while len(statuses) < 2:
                seen += connection.recv(65536) or pytest.fail(f"closed after {statuses}")
                statuses = re.findall(rb"HTTP/1.1 (\d+) ", seen)
        assert statuses == [b"200", b"401"], text


OF_LOGINS = ("authenticate_user", "get_user", "list_grants")
OF_SEARCH = ("filter_search_experiments", "_role_based_read_predicate", "_experiment_where_clauses")
CLOSED = ("filter_experiment_ids", "_get_graphql_auth_middleware")
OF_LOCATIONS = (
    "_get_trace_artifact_location_tag",
    "_delete_archived_trace_payloads",
    "get_artifact_uri_for_trace",
    *("get_archive_uri_for_trace",) * 2,  # the handlers and the store look up the function here
    "get_model_version_download_uri",
    "_is_uri_within_root",
)
REPLACED = (*OF_LOGINS, "_fetch_or_none", *OF_SEARCH, *CLOSED, *OF_LOCATIONS)


def test_a_server_does_not_start_when_functions_of_mlflow_have_changed(machine: Machine, tmp_path: Path) -> None:
    env = {**settings(tmp_path, free_port()), "PYTHONPATH": str(PLUGINS)}
    command = [machine.server_python(), str(SCRIPT), "changed"]
    refused = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert refused.returncode == EX_CONFIG
    begin = "this MLflow checks passwords in another way than the supported ones: "
    assert f"deployer: refused to start: {begin}authenticate_user(self, username, password, realm=None) instead of" in (
        refused.stderr
    )
    *told, of_same_signature = json.loads(refused.stdout.splitlines()[-1])
    assert of_same_signature == f"{begin}authenticate_user does something else than it did"
    wanted = [start for name in REPLACED for start in (f"{name}(*anything) instead of {name}(", f"there is no {name}(")]
    assert [text[: len(begin + start)] for text, start in zip(told, wanted, strict=True)] == [
        begin + start for start in wanted
    ]


# The requests that a member with a cached login can still make while a part raises: read a run and an artifact, find
# the experiment and the run, read the run by GraphQL.
NO, YES = (False,) * 5, (True,) * 5
NOT_ASKED = {
    "pair": YES,
    "take": YES,
    "verified_by_any_worker": YES,
    "known": (True, False, True, True, True),
    "was_checked": YES,
    "push": YES,
    "run": YES,
    "do": YES,
    "decide": YES,
    "check": (False, True, False, False, False),
}
ASKED = dict.fromkeys(("look_up", "was_right", "begin_anew", "credentials", "authenticate"), NO)
READ_ONCE = dict.fromkeys(("record", "user_once", "grants_once"), NO)
WHEN_SERVED = dict.fromkeys(("defer", "confirm"), (False, True, False, False, False))
MLFLOWS = dict.fromkeys(("to_mlflow_entity", "get_user", "list_grants"), NO)
OF_FLASK = dict.fromkeys(("sender_is_admin", "authenticate_request"), (False, True, False, False, False))
OF_RUNS = {"_fetch_or_none": (False, True, True, True, False)}
OF_EXPERIMENTS = {
    "retention_gate": (True, True, False, False, True),
    "_experiment_where_clauses": (True, True, False, True, True),
    "_role_based_read_predicate": (True, True, False, False, True),
}
OF_GRAPHQL = {"get_graphql_authorization_middleware": (True, True, True, True, False)}
PARTS = NOT_ASKED | ASKED | READ_ONCE | WHEN_SERVED | MLFLOWS | OF_FLASK | OF_RUNS | OF_EXPERIMENTS | OF_GRAPHQL
CARL = ("carl", "a-password-without-any-permission")
DORA = ("dora", "a-password-that-was-right-once")


def test_no_broken_part_bypasses_authentication(serve: Serve, tmp_path: Path) -> None:
    broken = tmp_path / "broken-part"
    with serve("broken", BROKEN=str(broken)) as address:
        add(address, ANNA, BERT, CARL, DORA)
        with client(ADMIN) as admin:
            made = admin.post(f"{address}/{API}/experiments/create", json={"name": "closed"}, timeout=60).json()
            body = {"experiment_id": made["experiment_id"], "start_time": 1}
            run = admin.post(f"{address}/{API}/runs/create", json=body, timeout=60).json()["run"]["info"]["run_id"]
            artifact = f"{API}-artifacts/artifacts/{made['experiment_id']}/{run}/artifacts/x"  # served by FastAPI
            admin.put(f"{address}/{artifact}", data=b"secret", timeout=60).raise_for_status()
            body = {"resource_type": "experiment", "resource_id": made["experiment_id"], "permission": "READ"}
            for name, _ in (ANNA, BERT, DORA):
                grant = f"{address}/api/3.0/mlflow/users/permissions/grant"
                admin.post(grant, json={**body, "username": name}, timeout=60).raise_for_status()
        runs = {"experiment_ids": [made["experiment_id"]]}
        query = f'query {{ mlflowGetRun(input: {{runId: "{run}"}}) {{ run {{ info {{ runUuid }} }} }} }}'
        asked: tuple[tuple[str, str, Any, str], ...] = (
            ("GET", f"{API}/runs/get?run_id={run}", None, run),
            ("GET", artifact, None, "secret"),
            ("GET", f"{API}/experiments/search?max_results=5", None, "closed"),
            ("POST", f"{API}/runs/search", runs, run),
            ("POST", "graphql", {"query": query}, run),
        )

        def readable(login: tuple[str, str] | None) -> tuple[bool, ...]:
            answers = [
                (requests.request(method, f"{address}/{path}", json=body, auth=login, timeout=60), secret)
                for method, path, body, secret in asked
            ]
            return tuple(secret in answer.text for answer, secret in answers)

        nothing = (False,) * len(asked)
        assert readable(ANNA) == (True,) * len(asked)
        assert readable(CARL) == nothing
        assert readable(DORA) == (True,) * len(asked)
        body = {"username": DORA[0], "password": "another-one-by-now"}
        changed = requests.patch(f"{address}/{API}/users/update-password", json=body, auth=ADMIN, timeout=60)
        changed.raise_for_status()
        found = {}
        for part in PARTS:
            # MLflow reads RuntimeError as a server without logins, ImportError as missing packages for logins
            for error in ("RuntimeError", "ImportError"):
                broken.write_text(f"{part} {error}")
                for stranger in (None, (ANNA[0], f"wrong, and {part} too"), ("nobody", "wrong"), CARL, DORA):
                    assert readable(stranger) == nothing, (part, error, stranger)
                found[part, error] = readable(ANNA)
                if part in NOT_ASKED:  # Bert's login is not cached yet
                    assert readable(BERT) == nothing, (part, error)
        assert found == {
            (part, error): told for part, told in PARTS.items() for error in ("RuntimeError", "ImportError")
        }
        broken.unlink()
        assert readable(ANNA) == readable(BERT) == (True,) * len(asked)


def test_changes_of_users_hold_at_once(usual: str, anna: tuple[str, str]) -> None:
    users = f"{usual}/{API}/users"
    with client(anna) as own, client(ADMIN) as admin:
        assert own.get(f"{users}/current", timeout=60).status_code == 200
        assert own.get(f"{users}/get?username=admin", timeout=60).status_code == 403
        for is_admin, status in ((True, 200), (False, 403)):
            body = {"username": anna[0], "is_admin": is_admin}
            assert admin.patch(f"{users}/update-admin", json=body, timeout=60).status_code == 200
            assert own.get(f"{users}/get?username=admin", timeout=60).status_code == status
        body = {"username": anna[0], "password": "the-next-password", "current_password": "not-hers-at-all"}
        assert own.patch(f"{users}/update-password", json=body, timeout=60).status_code != 200
        assert own.get(f"{users}/current", timeout=60).status_code == 200
        body["current_password"] = anna[1]
        assert own.patch(f"{users}/update-password", json=body, timeout=60).status_code == 200
        assert own.get(f"{users}/current", timeout=60).status_code == 401
        assert who(usual, (anna[0], "the-next-password")).status_code == 200
        assert admin.delete(f"{users}/delete", json={"username": anna[0]}, timeout=60).status_code == 200
        assert who(usual, (anna[0], "the-next-password")).status_code == 401


def test_requests_pass_less_middleware_and_get_the_same_answers(serve: Serve) -> None:
    paths = ("version", f"{API}/experiments/get?experiment_id=0", f"{API}-artifacts/artifacts", "api/3.0/nowhere", "")
    fast = ("api/3.0/mlflow/server-info", "v1/traces", "health/stores")
    odd = {"X-MLFLOW-WORKSPACE": "another"}
    told, passages = [], []
    for fault in ("usual", "long way"):
        with serve(fault) as address, client(ADMIN) as admin:
            answers = []
            for path in (*paths, *fast):
                for method in ("GET", "POST", "DELETE", "OPTIONS"):
                    for headers in ({}, odd):
                        answer = admin.request(method, f"{address}/{path}", headers=headers, timeout=60)
                        same: dict[str, Any] = {n: answer.headers.get(n) for n in ("content-type", "x-frame-options")}
                        same["allow"] = sorted(answer.headers.get("allow", "").split(", "))
                        answers.append((method, path, bool(headers), answer.status_code, same, len(answer.content)))
            told.append(answers)
            for path in ("version", "api/3.0/mlflow/server-info"):
                counted(address)
                admin.get(f"{address}/{path}", timeout=60).raise_for_status()
                passages.append(counted(address)["passages"])
            assert who(address, None).status_code == 401
            elsewhere = {who(address, login, Host="evil.example").status_code for login in (ADMIN, BERT, None)}
            assert elsewhere == {403}  # the same answer for valid and invalid logins
            pages = {who(address, login, Origin="http://localhost:3000").status_code for login in (ADMIN, BERT, None)}
            assert pages == {403}
            page = who(address, BERT, Origin=address)
            assert page.status_code == 401
            assert page.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert told[0] == told[1]
    assert {status for _, _, _, status, *_ in told[0]} >= {200, 404, 405}
    assert passages == [0, 3, 3, 3]
