"""Floods of guesses against one real server: the users they delay, and the end of checks with their clients."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.local.fault_injection import ANNA, add, counted, fault_injection
from tests.support.load import API
from tests.support.machine import Machine, watched

ELSEWHERE = "127.0.0.2"  # another client address on the loopback
CONNECTIONS = 1050
PEOPLE = [f"person {number}" for number in range(12)]
SECONDS = 30.0  # for a first login; a quiet machine needs less than 2


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> Iterator[str]:
    """A server with a dozen users with Anna's password, before their first logins."""
    folder = tmp_path_factory.mktemp("flooded")
    machine = Machine(folder)
    machine.share(environments)
    with watched([machine]), fault_injection(machine.server_python(), folder)("usual") as address:
        add(address, ANNA)
        with closing(sqlite3.connect(folder / "usual/auth.db", timeout=60)) as database, database:
            copy = "INSERT INTO users (username, password_hash, is_admin) SELECT ?, password_hash, 0"
            database.executemany(f"{copy} FROM users WHERE username = ?", [(name, ANNA[0]) for name in PEOPLE])
        yield address


class From(HTTPAdapter):
    """Connects from the given address."""

    def __init__(self, source: str) -> None:
        self._source = source
        super().__init__()

    def init_poolmanager(self, *arguments: object, **options: object) -> None:
        super().init_poolmanager(*arguments, **options, source_address=(self._source, 0))  # type: ignore[arg-type]


def log_in(address: str, name: str, password: str = ANNA[1], *, source: str = "127.0.0.1") -> tuple[int, float]:
    """Return the status of a request with this login, and its duration in seconds."""
    begun = time.monotonic()
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", From(source))
        answer = session.get(f"{address}/{API}/users/current", auth=(name, password), timeout=300)
    return answer.status_code, time.monotonic() - begun


async def guess(address: str, name: str, told: Counter[str]) -> None:
    """Send one guess after another until cancelled; a number is appended to `name`."""
    host, _, port = address.removeprefix("http://").partition(":")
    while True:
        told["begun"] += 1
        login = base64.b64encode(f"{name.format(told['begun'])}:wrong {told['begun']}".encode()).decode()
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                lines = [f"GET /{API}/users/current HTTP/1.1", f"Host: {host}:{port}", f"Authorization: Basic {login}"]
                writer.write("\r\n".join([*lines, "Connection: close", "", ""]).encode())
                told["sent"] += 1
                told[(await reader.read()).partition(b" ")[2][:3].decode()] += 1
            finally:
                writer.transport.abort()


@contextmanager
def flood(address: str, name: str = "nobody {}", connections: int = CONNECTIONS) -> Iterator[Counter[str]]:
    """Keep connections busy with guesses from one address; close all of them at the end."""
    told: Counter[str] = Counter()
    over: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def attack() -> None:
        stop = asyncio.Event()
        over.append((asyncio.get_running_loop(), stop))
        tasks = [asyncio.create_task(guess(address, name, told)) for _ in range(connections)]
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    attacking = threading.Thread(target=asyncio.run, args=(attack(),))
    attacking.start()
    try:
        while told["sent"] < connections:
            time.sleep(0.05)
            assert attacking.is_alive()
        yield told
    finally:
        (loop, stop), *_ = over
        loop.call_soon_threadsafe(stop.set)
        attacking.join(60)


def test_invented_users_delay_no_first_login_and_no_check_outlives_its_client(address: str) -> None:
    with flood(address) as told:
        for name, source in zip(PEOPLE[:6], ["127.0.0.1", ELSEWHERE] * 3, strict=True):
            status, seconds = log_in(address, name, source=source)
            assert (status, seconds < SECONDS) == (200, True), (name, source, seconds, told)
        assert told["sent"] >= CONNECTIONS
        assert told["200"] == 0
    assert log_in(address, PEOPLE[6])[0] == 200
    time.sleep(2)  # two checks are still running
    counted(address)
    time.sleep(2)
    assert counted(address)["checks"] == 0


def test_guesses_of_a_stranger_lock_out_no_user_behind_the_same_address(address: str) -> None:
    anna = PEOPLE[7]
    with ThreadPoolExecutor(20) as pool:
        told = pool.map(lambda number: log_in(address, anna, f"guess {number}")[0], range(20))
        assert set(told) == {401}  # these guesses are not slowed
    with flood(address, anna, 30):
        time.sleep(1)  # the guesses wait in the queue
    status, seconds = log_in(address, anna)
    assert (status, seconds < SECONDS) == (200, True), seconds
    assert log_in(address, anna)[0] == 200
