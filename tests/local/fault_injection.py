"""Servers with a fault in their password checks, and clients for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import requests

from deployer.catalogue import PLUGINS
from tests.support import snapshots
from tests.support.load import API
from tests.support.servers import PASSWORD, free_port, running, settings

SCRIPT = Path(__file__).with_name("serve_with_fault.py")
ADMIN = ("admin", PASSWORD)
ANNA = ("anna@uni.example", "a-password-of-her-own")
BERT = ("bert", "another-password-of-his")

Serve = Callable[..., AbstractContextManager[str]]


def fault_injection(python: str, folder: Path) -> Serve:
    """Return a context manager that runs a server with a fault and yields its address.

    With `first`, the server creates new databases.
    """

    @contextmanager
    def start(fault: str, *, first: bool = False, **env: str) -> Iterator[str]:
        home = folder / fault
        home.mkdir(exist_ok=True)
        if not (first or (home / "tracking.db").exists()):
            snapshots.copy(python, home)
        port = free_port()
        env = {**settings(home, port), "PYTHONPATH": str(PLUGINS), **env}
        with running([python, str(SCRIPT), fault], env, port, path="health") as address:
            yield address

    return start


def client(login: tuple[str, str] | None) -> requests.Session:
    session = requests.Session()
    session.auth = login
    session.trust_env = False
    return session


def add(address: str, *users: tuple[str, str]) -> None:
    for name, password in users:
        body = {"username": name, "password": password}
        made = requests.post(f"{address}/{API}/users/create", json=body, auth=ADMIN, timeout=60)
        made.raise_for_status()


def who(address: str, login: tuple[str, str] | None, **headers: str) -> requests.Response:
    return requests.get(f"{address}/{API}/users/current", auth=login, headers=headers, timeout=60)


def counted(address: str) -> dict[str, Any]:
    answer: dict[str, Any] = requests.get(f"{address}/health/statements", timeout=60).json()
    return answer
