"""A revocation holds at once in every worker of every replica."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from deployer.catalogue import PLUGINS
from tests.support import postgres
from tests.support.load import API
from tests.support.servers import PASSWORD, free_port, running, settings

ADMIN = ("admin", PASSWORD)
WORKERS, REPLICAS = 2, 2
CLIENTS = 8


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> Iterator[list[str]]:
    """Two servers of two workers each on one PostgreSQL."""
    folder = tmp_path_factory.mktemp("replicas")
    (python,) = map(str, environments.glob("mlflow-*/bin/python"))
    driver = {"PYTHONPATH": postgres.driver(folder)}
    with ExitStack() as stack:
        urls = stack.enter_context(postgres.running(postgres.programs(folder)))
        found = []
        for number in range(REPLICAS):
            home, port = folder / str(number), free_port()
            home.mkdir()
            env = settings(home, port)
            ini = Path(env["MLFLOW_AUTH_CONFIG_PATH"])
            ini.write_text(ini.read_text().replace(f"sqlite:///{home}/auth.db", urls["auth"]))
            env |= {"MLFLOW_BACKEND_STORE_URI": urls["tracking"], "MLFLOW_WORKERS": str(WORKERS)} | driver
            command = [python, str(PLUGINS / "launch.py")]
            # one after the other: two first starts of MLflow on an empty database would conflict
            found.append(stack.enter_context(running(command, env, port, path="health/stores")))
        yield found


class Askers:
    """Clients that send requests to all replicas in turn, on new connections, to reach every worker."""

    def __init__(self, addresses: list[str], login: tuple[str, str], path: str) -> None:
        self._urls = [f"{address}/{API}/{path}" for address in addresses]
        self._login = login
        self._over = threading.Event()
        self.answers: list[tuple[float, int]] = []  # the time and the status of each request
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]

    def _ask(self, number: int) -> None:
        while not self._over.is_set():
            number += 1
            begun = time.monotonic()
            answer = requests.get(self._urls[number % len(self._urls)], auth=self._login, timeout=60)
            self.answers.append((begun, answer.status_code))

    def __enter__(self) -> Askers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(120)

    def until(self, count: int, since: float) -> list[int]:
        """Wait for so many answers to requests since that time; return their statuses."""
        while len(found := [status for begun, status in list(self.answers) if begun > since]) < count:
            time.sleep(0.05)  # between two checks of the answers
        return found


def send(address: str, method: str, path: str, body: dict[str, Any], version: str = "2.0") -> Any:
    url = f"{address}/api/{version}/mlflow/{path}"
    answer = requests.request(method, url, json=body or None, auth=ADMIN, timeout=60)
    answer.raise_for_status()
    return answer.json() if answer.text else None


def password_changed(address: str, name: str) -> int:
    send(address, "PATCH", "users/update-password", {"username": name, "password": "quite-another-one"})
    return 401


def deleted(address: str, name: str) -> int:
    send(address, "DELETE", "users/delete", {"username": name})
    return 401


def permission_revoked(address: str, name: str) -> int:
    experiment = send(address, "GET", f"experiments/get-by-name?experiment_name={name}", {})["experiment"]
    body = {"username": name, "resource_type": "experiment", "resource_id": experiment["experiment_id"]}
    send(address, "POST", "users/permissions/revoke", body, "3.0")
    return 403


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("revoke", [password_changed, deleted, permission_revoked])
def test_no_request_is_accepted_after_a_revocation(
    addresses: list[str], revoke: Callable[[str, str], int], soak: bool
) -> None:
    name = revoke.__name__
    login = (name, "a-password-for-now")
    send(addresses[0], "POST", "users/create", {"username": name, "password": login[1]})
    experiment = send(addresses[0], "POST", "experiments/create", {"name": name})["experiment_id"]
    body = {"username": name, "resource_type": "experiment", "resource_id": experiment, "permission": "READ"}
    send(addresses[0], "POST", "users/permissions/grant", body, "3.0")
    with Askers(addresses, login, f"experiments/get?experiment_id={experiment}") as askers:
        assert set(askers.until(100, 0)) == {200}
        refused = revoke(addresses[0], name)
        assert set(askers.until(10_000 if soak else 300, time.monotonic())) == {refused}
