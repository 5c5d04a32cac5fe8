"""`verify` against real servers with one fault each: every fault has a specific message."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deployer.catalogue import PLUGINS, catalogue
from tests.support import snapshots
from tests.support.machine import Machine
from tests.support.servers import LOGIN, PASSWORD, free_port, relay, running, settings

ORDINARY_USER = 65534


def launch(machine: Machine) -> list[str]:
    return [machine.server_python(), str(PLUGINS / "launch.py")]


def failed_check(machine: Machine, address: str, login: dict[str, str] = LOGIN) -> str:
    """Return the message of the only failed check, which must also be the last line of the command's output."""
    done = machine.run("verify", "--tracking-uri", address, env=login, code=1)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Verification failed: ")]
    assert done.stdout.count("✗") == 1
    return line.removeprefix("Verification failed: ")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "server"
    path.mkdir()
    return path


@dataclass(frozen=True)
class Right:
    """A server without a fault, for tests with a fault between the server and `verify`."""

    address: str
    artifacts: Path

    def files(self) -> list[Path]:
        return [path for path in self.artifacts.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def right(environments: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Right]:
    (python,) = map(str, environments.glob("mlflow-*/bin/python"))
    folder, port = tmp_path_factory.mktemp("right"), free_port()
    snapshots.copy(python, folder)
    with running([python, str(PLUGINS / "launch.py")], settings(folder, port), port, path="health/stores") as address:
        yield Right(address, folder / "artifacts")


def test_a_right_server_started_by_hand_passes(machine: Machine, right: Right) -> None:
    machine.run("verify", "--tracking-uri", right.address, env=LOGIN)


def test_authentication_off(machine: Machine, folder: Path) -> None:
    port = free_port()
    mlflow = [machine.server_python(), "-m", "mlflow", "server", "--workers", "1"]
    with running(mlflow, settings(folder, port), port) as address:
        assert failed_check(machine, address) == (
            "anonymous refused: the server answers anonymous callers with 200: authentication is off"
        )


def test_another_password(machine: Machine, right: Right) -> None:
    said = failed_check(machine, right.address, {**LOGIN, "MLFLOW_TRACKING_PASSWORD": "not-the-password-at-all"})
    assert said.startswith("password accepted: the server does not accept this user name or password (401)")
    assert said.endswith("(the user name was 'admin')")


def test_a_read_only_artifact_folder(machine: Machine, folder: Path) -> None:
    """If the suite runs as root, who may write everywhere, an ordinary user runs the server."""
    port, root = free_port(), os.geteuid() == 0
    (folder / "artifacts").mkdir(mode=0o555)
    env = settings(folder, port)
    for path in (folder, folder / "basic_auth.ini"):
        if root:
            os.chown(path, ORDINARY_USER, -1)
    with running(reachable_launch(machine, folder), env, port, user=ORDINARY_USER if root else None) as address:
        assert failed_check(machine, address).startswith(
            "artifact written: the server cannot store an artifact (HTTP 500)"
        )


def reachable_launch(machine: Machine, folder: Path) -> list[str]:
    """Return the command with copies of the programs, and open the way to the environment for another user."""
    python = Path(machine.server_python())
    for path in (*folder.parents, *python.resolve().parents, *python.parents, *python.parent.resolve().parents):
        if path.stat().st_uid == os.geteuid() and str(path) != "/":
            path.chmod(path.stat().st_mode | 0o011)
    for name, content in catalogue().plugins.items():
        copy = folder / name
        copy.parent.mkdir(exist_ok=True)
        copy.parent.chmod(copy.parent.stat().st_mode | 0o011)
        copy.write_text(content, "utf-8")
        copy.chmod(0o644)
    return [str(python), str(folder / "launch.py")]


def test_wrong_allowed_hosts(machine: Machine, folder: Path) -> None:
    port = free_port()
    with running(launch(machine), settings(folder, port, hosts="mlflow.example.org"), port) as address:
        # the server always accepts the address at which it listens
        assert failed_check(machine, address.replace("127.0.0.1", "localhost")).startswith(
            "anonymous refused: the server refuses this host name: it is missing in MLFLOW_SERVER_ALLOWED_HOSTS"
        )


def test_an_artifact_altered_on_disk_between_write_and_read(machine: Machine, right: Right) -> None:
    def alter() -> None:
        (artifact,) = right.files()
        content = bytearray(artifact.read_bytes())
        content[len(content) // 2] ^= 1
        artifact.write_bytes(content)

    with relay(right.address, alter) as altering:
        assert failed_check(machine, altering).startswith(
            "artifact read back: the artifact reads back altered: wrote 4096"
        )


RIGHT = f"Basic {base64.b64encode(f'admin:{PASSWORD}'.encode()).decode()}"


def test_any_password_accepted(machine: Machine, right: Right) -> None:
    """A proxy in front of the server adds a valid login."""
    with (
        relay(right.address, login=lambda _method, _path, given: RIGHT if given else "") as careless,
    ):
        assert failed_check(machine, careless) == (
            "wrong password refused: the server answers a wrong password with 200: authentication is off"
        )


def test_artifacts_open_to_any_password(machine: Machine, right: Right) -> None:
    def careless_login(method: str, path: str, given: str) -> str:
        """Replace the login only of reads: the proof also sends a PUT, which would then empty the artifact."""
        return RIGHT if given and method == "GET" and "-artifacts/" in path else given

    with relay(right.address, login=careless_login) as careless:
        said = failed_check(machine, careless)
        assert said.startswith("strangers kept out: GET api/2.0/mlflow-artifacts/artifacts/")
        assert said.endswith("answers a wrong password with 200, not 401")


def test_no_server_at_the_address(machine: Machine) -> None:
    assert "cannot be reached (Connection refused)" in failed_check(machine, f"http://127.0.0.1:{free_port()}")


def test_another_program_at_the_address(machine: Machine, folder: Path) -> None:
    port = free_port()
    other = [machine.server_python(), "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    with running(other, {"PATH": "/usr/bin:/bin", "HOME": str(folder)}, port, path="") as address:
        assert "is this an MLflow server?" in failed_check(machine, address)


def test_verify_leaves_no_artifact_and_one_experiment(machine: Machine, right: Right) -> None:
    for _ in range(3):
        machine.run("verify", "--tracking-uri", right.address, env=LOGIN)
    assert right.files() == []
    assert len(list(right.artifacts.iterdir())) == 1
