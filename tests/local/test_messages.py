"""Messages about a server that does not run, about the port of a new server, and about data that it does not use."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployer.core.address import LOOPBACK
from deployer.targets.local import process
from deployer.targets.local.ports import FIRST_PORT
from tests.support.killing import stopped_after
from tests.support.machine import Machine, kill_group, watched

TRIES = 5
CREATE = ("create", "--target", "local")
FOREIGN_SCHEMA = "CREATE TABLE experiments (id INT); CREATE TABLE alembic_version (version_num TEXT);"


@dataclass(frozen=True)
class Scene:
    """A machine with a running server, and the messages of its first two creates; the first was refused."""

    machine: Machine
    refused: str
    created: str
    took_default_port: bool

    @property
    def data(self) -> Path:
        return self.machine.state / "servers" / "mlflow" / "data"

    def status(self, code: int = 0) -> dict[str, str]:
        """Return the text output of `status`: each line by its first word, and the last lines of the log as `lines`."""
        lines = self.machine.run("status", code=code).stdout.splitlines()
        return dict(line.split(maxsplit=1) for line in lines if line[0] != " ") | {
            "lines": "\n".join(line for line in lines if line[0] == " ")
        }


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> Iterator[Scene]:
    machine = Machine(tmp_path_factory.mktemp("messages"))
    machine.share(environments)
    (machine.home / "mlflow.db").touch()
    (machine.home / "mlruns").mkdir()
    with watched([machine]):
        for _ in range(TRIES):
            data = add_foreign_data(machine)
            with ExitStack() as taken:
                took_default_port = False
                with suppress(OSError):  # another process uses the port
                    taken.enter_context(socket.create_server((LOOPBACK, FIRST_PORT)))
                    took_default_port = True
                refused = machine.run(*CREATE, code=1).stderr
            if took_default_port or f"Port {FIRST_PORT} is taken" in refused:
                break
            # the other process has ended before `create` looked at the port
            shutil.rmtree(machine.state / "servers")
        (data / "tracking.db").unlink()
        (data / "mlflow.db").touch()
        yield Scene(machine, refused, machine.run(*CREATE).stderr, took_default_port)


def add_foreign_data(machine: Machine) -> Path:
    """Put a database of an unknown schema into the future server's data folder; return the folder."""
    data = machine.state / "servers" / "mlflow" / "data"
    data.mkdir(parents=True)
    with closing(sqlite3.connect(data / "tracking.db")) as database:
        database.executescript(f"{FOREIGN_SCHEMA} INSERT INTO alembic_version VALUES ('0123456789ab');")
    return data


def test_a_first_create_mentions_no_old_spec(scene: Scene) -> None:
    assert "has schema 0123456789ab" in scene.refused
    assert "old spec" not in scene.refused


def test_a_default_port_in_use_is_named_with_its_process(scene: Scene) -> None:
    port = scene.machine.record()["assigned"]["ports"]["http"]
    assert port != FIRST_PORT
    holder = re.search(rf"Port {FIRST_PORT} is taken by process ([0-9]+) \(", scene.refused)
    assert holder
    assert scene.took_default_port == (int(holder[1]) == os.getpid())
    assert f"this server has port {port}" in scene.refused
    assert "is taken" not in scene.created  # the server keeps its port


def test_unused_data_of_mlflow_is_reported(scene: Scene) -> None:
    assert f"mlflow.db and mlruns in {scene.machine.home} are not used" in scene.refused
    assert f"has its own data in {scene.data}" in scene.refused
    assert str(scene.machine.home / "mlruns") not in scene.created
    for said in (scene.created, scene.machine.run("status").stderr):
        assert f"Warning: mlflow.db in {scene.data} is not used" in said


def test_the_status_of_a_running_server_has_data_size_and_uptime(scene: Scene) -> None:
    status = scene.status()
    assert status["data"] == str(scene.data)
    assert 0.5 < float(status["size"].removesuffix(" MiB")) < 50
    assert status["uptime"].endswith("s")
    document = scene.machine.json("status")
    assert document["data"] == str(scene.data)
    assert document["dataBytes"] > 500_000
    assert 0 < document["uptimeSeconds"] < 3600
    assert document["log"] == []


def test_a_create_without_a_change_does_not_claim_a_proof(scene: Scene) -> None:
    said = scene.machine.run("create").stdout
    assert "Nothing to change" in said
    assert "Nothing was written to it: `deployer verify mlflow --target local` tries that" in said
    assert "proven again" not in said
    assert "is running and verified" not in said


def test_status_and_env_report_a_stopped_server(scene: Scene) -> None:
    assert scene.machine.run("env").stderr == ""
    scene.machine.run("stop")
    try:
        status = scene.status(code=3)
        assert status["state"] == "stopped"
        assert status["detail"].startswith("stopped; its log ends at 20")
        assert status["data"] == str(scene.data)
        assert "uptime" not in status
        for command in (("env",), ("env", "-o", "json"), ("share",)):
            assert "does not run" in scene.machine.run(*command).stderr
        taken = scene.machine.run("create", "--password-file", "-", stdin="another-password", code=5).stderr
        assert "`deployer rotate-password mlflow --password-file FILE --target local` changes it" in taken
        warned = scene.machine.run("env")
        assert "does not run (stopped" in warned.stderr
        assert "`deployer start mlflow --target local`" in warned.stderr
        assert len(warned.stdout.splitlines()) == 3
        assert "differs from its spec in 1 place\n" in scene.machine.run("diff", code=6).stderr
    finally:
        scene.machine.run("start")


def test_status_reports_a_server_as_never_started(scene: Scene) -> None:
    kill_group(stopped_after(scene.machine, "[5/7] start", "create", "second", "--target", "local"))
    document = scene.machine.json("status", "second", code=3)
    assert (document["state"], document["detail"]) == ("stopped", "never started")
    scene.machine.run("delete", "second", "--delete-data", "--yes")


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (signal.SIGTERM, "it was asked to end, by SIGTERM or SIGINT and not by deployer"),
        (signal.SIGKILL, "its log gives no reason, as after SIGKILL"),
    ],
)
def test_status_reports_why_a_server_crashed(scene: Scene, number: signal.Signals, why: str) -> None:
    pid = scene.machine.pid()
    os.kill(pid, number)
    while scene.machine.processes():
        time.sleep(0.05)
    try:
        status = scene.status(code=3)
        assert status["state"] == "crashed"
        assert status["detail"].startswith(f"process {pid} has ended: {why}")
        assert "Application startup complete" in status["lines"]
        assert scene.machine.json("status", code=3)["log"][-1] in status["lines"]
    finally:
        scene.machine.run("start")


@pytest.mark.full_scale
def test_a_failed_change_of_a_proven_server_names_the_way_back(scene: Scene) -> None:
    scene.machine.run("stop")
    with closing(sqlite3.connect(scene.data / "tracking.db")) as database, database:
        (head,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        database.execute("UPDATE alembic_version SET version_num = 'x'")
    said = scene.machine.run("create", "mlflow", "--default-permission", "READ", code=1).stderr
    with closing(sqlite3.connect(scene.data / "tracking.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (head,))
    assert "Next: the old spec brings the server back" in said
    scene.machine.run("create", "mlflow", "--default-permission", "NO_PERMISSIONS")


@contextmanager
def small_memory(size: int) -> Iterator[Path]:
    """Create a control group with so many bytes of memory, below the group of this process."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            group, limit = Path(f"/sys/fs/cgroup/memory{path}/deployer-test-{os.getpid()}"), "memory.limit_in_bytes"
        elif number == "0":
            group, limit = Path(f"/sys/fs/cgroup{path}/deployer-test-{os.getpid()}"), "memory.max"
        else:
            continue
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():
                (group / limit).write_text(str(size))
                yield group
                return
        finally:
            for pid in (group / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            for _ in range(100):  # until the kernel has ended them
                with suppress(OSError):
                    group.rmdir()
                    break
                time.sleep(0.1)
    pytest.skip("this user may not limit the memory of processes")


def test_a_kill_for_lack_of_memory_is_detected(tmp_path: Path) -> None:
    """The process record is real; a small program replaces the server."""
    from deployer.targets.local.memory import killed_for_memory

    record, grow = tmp_path / "process.json", "import time; time.sleep(1); kept = b'x' * (400 << 20); time.sleep(60)"
    with small_memory(100 << 20) as group:
        entering = f"import os; open('{group}/cgroup.procs', 'w').write(str(os.getpid())); "
        starting = (
            "import sys, pathlib; from deployer.targets.local import process; from deployer.targets.local.ports import "
            "listen; listener = listen(0, '127.0.0.1'); process.start(pathlib.Path(sys.argv[1]), fingerprint='f', "
            f"command=[sys.executable, '-c', {grow!r}], env={{}}, log=pathlib.Path(sys.argv[1] + '.log'), "
            "listener=listener)"
        )
        subprocess.run([sys.executable, "-c", entering + starting, str(record)], check=True, timeout=60)
        assert not killed_for_memory(record)
        until = time.monotonic() + 60
        while process.observe(record).state == "running" and time.monotonic() < until:
            time.sleep(0.05)
        assert process.observe(record).state == "crashed"
        assert killed_for_memory(record)
