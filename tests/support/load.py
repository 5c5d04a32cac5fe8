"""Clients that write without a pause while passwords change, and checks of every response."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

from tests.support.machine import Machine

API = "api/2.0/mlflow"


@dataclass
class Seen:
    """Results of the clients: the span of each successful write, failures, and accepted old passwords (`late`)."""

    writes: list[tuple[float, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def fewest_under_way(self, begin: float, end: float) -> int:
        """The smallest number of requests in flight at any instant of a span."""
        changes = sorted((at, step) for begun, over in self.writes for at, step in ((begun, 1), (over, -1)))
        under_way = sum(begun <= begin < over for begun, over in self.writes)
        fewest = under_way
        for at, step in changes:
            if begin < at <= end:
                under_way += step
                fewest = min(fewest, under_way)
        return fewest


class Load:
    """Clients that write as users; `candidates` returns the passwords that are stored for a user at the moment."""

    def __init__(self, url: str, candidates: Callable[[str], list[str]], verify: str | bool = True) -> None:
        self._url = url
        self._verify = verify
        self.candidates = candidates
        self._retired: dict[str, float] = {}
        self._over = threading.Event()
        self._runs: dict[str, str] = {}
        self.seen = Seen()

    def retire(self, password: str) -> None:
        """Record that the server must refuse this password from now on."""
        self._retired[password] = time.monotonic()

    def prepare(self, user: str) -> None:
        """Create the run that a user writes to."""
        auth = (user, self.candidates(user)[0])
        with requests.Session() as session:
            session.verify, session.trust_env = self._verify, False
            made = session.post(f"{self._url}/{API}/experiments/create", json={"name": f"load {user}"}, auth=auth)
            made.raise_for_status()
            body = {"experiment_id": made.json()["experiment_id"], "start_time": 1}
            run = session.post(f"{self._url}/{API}/runs/create", json=body, auth=auth)
            run.raise_for_status()
            self._runs[user] = run.json()["run"]["info"]["run_id"]

    @contextmanager
    def clients(self, users: list[str], count: int) -> Iterator[None]:
        """Keep `count` clients writing until the block ends."""
        threads = [threading.Thread(target=self._write, args=(users[n % len(users)],)) for n in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join(120)
            assert not [thread for thread in threads if thread.is_alive()]

    def _write(self, user: str) -> None:
        password = self.candidates(user)[0]
        with requests.Session() as session:
            session.verify, session.trust_env = self._verify, False
            step = 0
            while not self._over.is_set():
                step += 1
                status = self._send(session, user, password, step)
                if status == 401:
                    password = self._accepted_now(session, user, step) or password

    def _accepted_now(self, session: requests.Session, user: str, step: int) -> str | None:
        """Return the stored password that the server accepts now; try twice, because it may change in between."""
        for _ in range(2):
            for password in self.candidates(user):
                if self._send(session, user, password, step) == 200:
                    return password
        self.seen.failures.append(f"{user}: none of the stored passwords is accepted")
        return None

    def _send(self, session: requests.Session, user: str, password: str, step: int) -> int:
        metric = {"key": "m", "value": step, "step": step, "timestamp": step}
        body = {"run_id": self._runs[user], "metrics": [metric], "params": [], "tags": []}
        begun = time.monotonic()
        try:
            answer = session.post(f"{self._url}/{API}/runs/log-batch", json=body, auth=(user, password), timeout=60)
        except requests.RequestException as error:
            self.seen.failures.append(f"{user}: {type(error).__name__}: {error}")
            return 0
        if answer.status_code == 200:
            self.seen.writes.append((begun, time.monotonic()))
            if begun > self._retired.get(password, begun):
                self.seen.late.append(f"{user}: let in {begun - self._retired[password]:.3f} s after it was changed")
        elif answer.status_code != 401:
            self.seen.failures.append(f"{user}: {answer.status_code} {answer.text[:200]}")
        return answer.status_code


def rotate_under_load(
    load: Load, commands: dict[str, tuple[Machine, tuple[str, ...]]], rounds: int, writes: int
) -> None:
    """Rotate each user's password `rounds` times, and continue until `writes` requests succeeded; none may fail."""
    for user in commands:
        load.prepare(user)
    changes: list[tuple[float, float]] = []
    with load.clients(list(commands), 16):
        while len(changes) < rounds * len(commands) or len(load.seen.writes) < writes:
            for user, (machine, command) in commands.items():
                (old,) = load.candidates(user)
                changes.append(_rotated(machine, command))
                load.retire(old)
        time.sleep(1)  # a server could still accept the last old password
    assert not load.seen.failures, load.seen.failures[:20]
    assert not load.seen.late, load.seen.late[:20]
    assert len(load.seen.writes) >= writes
    assert min(load.seen.fewest_under_way(*change) for change in changes) >= 1


def _rotated(machine: Machine, command: tuple[str, ...]) -> tuple[float, float]:
    """Run a rotation; return the span in which the server changed the password."""
    process = machine.popen(*command)
    assert process.stderr is not None
    begin = end = 0.0
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("[2/4] change"):
            begin = time.monotonic()
        elif line.startswith("ok change"):
            end = time.monotonic()
    process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert begin < end
    return begin, end
