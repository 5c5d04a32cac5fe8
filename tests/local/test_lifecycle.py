"""The life of a real server, from `create` to `delete`."""

from __future__ import annotations

import hashlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from deployer.catalogue import CONSTRAINTS, catalogue
from deployer.core.spec.versions import DEFAULT_MLFLOW, constraints_file
from tests.support.machine import DEPLOYER, Machine, alive

TRAINING = Path(__file__).with_name("training.py")
ROUND_TRIP = Path(__file__).with_name("round_trip.py")


def in_clean_shell(machine: Machine, python: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """Paste the lines that `create` printed into a shell with no variables but `env`, and run a program there."""
    printed = machine.run("create").stdout
    lines = [line.strip() for line in printed.splitlines() if line.strip().startswith("export ")]
    assert len(lines) == 3
    assert machine.password() not in printed
    script = "\n".join([*lines, "exec " + shlex.join([python, *arguments])])
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(machine.home), **(env or {})}
    done = subprocess.run(
        ["sh", "-c", script], env=clean, capture_output=True, text=True, timeout=600, cwd=machine.home, check=False
    )
    machine.hear("a client", done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def shared(shared_machine: Machine) -> Machine:
    """A user for tests that need only a running, proven server with default settings."""
    shared_machine.create()
    return shared_machine


def test_create_proves_the_server_and_says_how_to_use_it(machine: Machine) -> None:
    created = machine.create()
    assert created["changed"] is True
    assert [check["ok"] for check in created["verified"]] == [True] * 9
    assert requests.get(f"{created['address']}/api/2.0/mlflow/users/current", timeout=10).status_code == 401
    with pytest.raises(requests.ConnectionError):  # another address of this machine
        requests.get(created["address"].replace("127.0.0.1", "127.0.0.2"), timeout=10)
    status = machine.json("status")
    assert (status["state"], status["proven"], status["address"]) == ("ready", True, created["address"])
    (listed,) = machine.json("list")
    assert listed.items() <= status.items()
    assert "Application startup complete" in machine.run("logs", "--tail", "50").stdout
    assert machine.run("verify").returncode == 0


def test_the_environment_holds_the_tested_versions_and_status_prints_their_hash(shared: Machine) -> None:
    pip = [sys.executable, "-m", "pip", "--python", shared.server_python(), "--disable-pip-version-check", "freeze"]
    frozen = subprocess.run(pip, capture_output=True, check=True, timeout=60).stdout
    assert shared.json("status")["packages"] == f"sha256:{hashlib.sha256(frozen).hexdigest()}"
    tested = (CONSTRAINTS / constraints_file(DEFAULT_MLFLOW)).read_text().lower().replace("_", "-").splitlines()
    allowed = {line.partition(" ;")[0] for line in tested}
    installed = {line.lower().replace("_", "-") for line in frozen.decode().splitlines()}
    assert len(installed) > 60
    assert {line for line in installed - allowed if not line.startswith("mlflow")} == set()


def test_a_second_create_changes_nothing_and_says_so(shared: Machine) -> None:
    before = (shared.record(), shared.pid())
    again = shared.run("create")
    assert "Nothing to change" in again.stdout
    assert (shared.record(), shared.pid()) == before
    assert shared.json("create")["changed"] is False


def test_a_changed_spec_is_shown_and_applied_and_nothing_else_changes(shared: Machine) -> None:
    first = shared.create()
    pid, password = shared.pid(), shared.password()
    files = shared.state / "servers/mlflow/files"
    (files / "old.py").write_text("of an earlier release of deployer")
    changed = shared.run("create", "mlflow", "--default-permission", "READ")
    assert 'Change: spec.auth.defaultPermission: "NO_PERMISSIONS" -> "READ"' in changed.stderr
    assert shared.pid() != pid
    assert shared.password() == password
    assert shared.json("create")["address"] == first["address"]
    assert "default_permission = READ" in (files / "basic_auth.ini").read_text()
    delivered = {path.relative_to(files).as_posix(): path.read_text() for path in files.rglob("*") if path.is_file()}
    assert delivered == {**catalogue().plugins, "basic_auth.ini": delivered["basic_auth.ini"]}


def test_a_spec_file_from_init_creates_that_server(machine: Machine) -> None:
    machine.run("init", "team", "-f", "team.yaml")
    assert machine.json("create", "-f", "team.yaml", "--target", "local")["name"] == "team"
    assert "exists already" in machine.run("init", "team", "-f", "team.yaml", code=2).stderr


def test_a_given_user_and_password_are_used(machine: Machine) -> None:
    secret = "p%w$ \"q'`\\; #:=&{{x}}"
    (machine.home / "password").write_text(f"{secret}\n")
    created = machine.create("mlflow", "--username", "a b%c@d", "--password-file", "password")
    assert created["username"] == "a b%c@d"
    assert machine.password() == secret
    assert machine.run("verify").returncode == 0
    assert (
        "leave --password-file out"
        in machine.run("create", "--password-file", "-", stdin="another-password", code=5).stderr
    )
    assert "cannot rename" in machine.run("create", "--username", "other", code=5).stderr


def test_pasted_lines_let_plain_mlflow_train_register_and_find_a_model(shared: Machine, client_python: str) -> None:
    out = in_clean_shell(shared, client_python, str(TRAINING))
    assert out.strip().endswith("all done")


def test_small_and_large_artifacts_come_back_byte_for_byte(shared: Machine, client_python: str, soak: bool) -> None:
    out = in_clean_shell(shared, client_python, str(ROUND_TRIP), "1024", str((600 if soak else 60) * 1000 * 1000))
    assert [line for line in out.splitlines() if line in ("same", "different")] == ["same", "same"]


def test_delete_keeps_runs_and_password_and_create_brings_them_back(machine: Machine, client_python: str) -> None:
    first = machine.create("mlflow", "--username", "alice", "--default-permission", "READ")
    password = machine.password()
    write = "run = mlflow.start_run(); mlflow.log_text('kept', 'note.txt'); print('id', run.info.run_id)"
    program = f"import mlflow; {write}"
    (line,) = [
        line for line in in_clean_shell(machine, client_python, "-c", program).splitlines() if line.startswith("id ")
    ]
    run_id = line.removeprefix("id ")
    machine.run("delete")
    assert machine.processes() == []
    assert machine.json("list")[0]["state"] == "deleted"
    assert "was deleted" in machine.run("verify", code=1).stderr
    again = machine.create()
    assert again["address"] == first["address"]
    assert machine.password() == password
    assert machine.record()["spec"]["spec"]["auth"] == {"adminUsername": "alice", "defaultPermission": "READ"}
    program = (
        f"import mlflow\nprint(mlflow.artifacts.load_text(mlflow.get_run('{run_id}').info.artifact_uri + '/note.txt'))"
    )
    assert in_clean_shell(machine, client_python, "-c", program).splitlines()[-1] == "kept"


def test_delete_with_data_leaves_nothing(machine: Machine) -> None:
    machine.create()
    machine.run("delete", "--delete-data", "--yes")
    assert machine.json("list") == []
    assert machine.processes() == []
    assert list((machine.state / "servers").iterdir()) == []
    assert "no server" in machine.run("delete", "--delete-data", "--yes", code=1).stderr


def test_stop_and_start_keep_address_and_password(shared: Machine) -> None:
    first, password = shared.create(), shared.password()
    shared.run("stop")
    assert shared.processes() == []
    assert shared.json("status", code=3)["state"] == "stopped"
    shared.run("start")
    assert shared.json("status")["address"] == first["address"]
    assert shared.password() == password


def test_a_crash_is_detected_and_create_proves_the_server_again(shared: Machine) -> None:
    pid = shared.pid()
    os.kill(pid, signal.SIGKILL)
    while alive(pid):  # until the kernel has ended it
        pass
    assert shared.json("status", code=3)["state"] == "crashed"
    assert shared.json("create")["changed"] is True
    assert shared.json("status")["proven"] is True


def test_two_servers_run_side_by_side_on_different_ports(shared: Machine) -> None:
    one, two = shared.create(), shared.create("two")
    assert one["address"] != two["address"]
    assert shared.password() != shared.password("two")
    shared.run("delete", "two", "--delete-data", "--yes")
    assert shared.json("status")["state"] == "ready"


def test_verify_accepts_the_address_of_any_server(shared: Machine) -> None:
    created = shared.create()
    login = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": shared.password()}
    shared.run("verify", "--tracking-uri", created["address"], env=login)
    login["MLFLOW_TRACKING_PASSWORD"] = "something-else-entirely"
    refused = shared.run("verify", "--tracking-uri", created["address"], env=login, code=1)
    assert "password accepted: the server does not accept this user name or password" in refused.stderr


def test_the_state_is_private_and_no_output_holds_a_secret(shared: Machine) -> None:
    stored = (shared.state / "servers/mlflow/secrets.json").read_text()
    values = [part for part in stored.split('"') if len(part) >= 30]
    assert len(values) == 4
    assert shared.password() in values
    for path in [shared.state, *shared.state.glob("servers/**/*")]:
        if not path.is_symlink() and "data" not in path.parts:
            assert path.stat().st_mode & 0o077 == 0 or path.parent.stat().st_mode & 0o077 == 0
    assert shared.state.stat().st_mode & 0o777 == 0o700
    assert (shared.state / "servers/mlflow/secrets.json").stat().st_mode & 0o777 == 0o600
    commands = (
        ["create"],
        ["status"],
        ["list"],
        ["logs"],
        ["verify"],
        ["env"],
        ["render"],
        ["stop"],
        ["start"],
        ["delete"],
    )
    printed = "".join(done.stdout + done.stderr for done in (shared.run(*command) for command in commands))
    arguments = Path("/proc/self/cmdline").read_text()
    assert not [value for value in values if value in printed + arguments]
    kept = (shared.state / "servers/mlflow/record.json").read_text()
    assert not [value for value in values if value in kept]


def test_render_needs_no_home_no_cluster_and_no_file(machine: Machine) -> None:
    for profile, kind in (("kubernetes", "Ingress"), ("rahti", "Route")):
        done = subprocess.run(
            [str(DEPLOYER), "render", "--profile", profile],
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert f"kind: {kind}\n" in done.stdout


def test_a_terminal_without_unicode_gets_words_for_marks(shared: Machine) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    marks = [line.split()[0] for line in shared.run("verify", env=ascii_only).stdout.splitlines()[1:]]
    assert marks == ["ok"] * 9
    assert shared.run("list", env=ascii_only).stdout.isascii()


def test_each_start_has_a_log_and_the_previous_log_stays(shared: Machine) -> None:
    shared.run("stop")
    shared.run("start")
    for log in ("server.log", "server.log.1"):
        assert (shared.state / "servers/mlflow" / log).read_text().count("Application startup complete") == 1


def test_a_create_without_a_change_removes_drafts_of_a_killed_deployer(
    shared: Machine,
) -> None:
    draft = shared.state / "servers" / "mlflow" / ".draft-killed"
    draft.write_text("half")
    assert shared.create()["changed"] is False
    assert not draft.exists()


def test_a_proof_succeeds_after_guesses_at_the_same_user(shared_machine: Machine) -> None:
    address = shared_machine.create()["address"]

    def guess(number: int) -> int:
        login = ("admin", f"guess {number}")
        return requests.get(f"{address}/api/2.0/mlflow/users/current", auth=login, timeout=60).status_code

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(guess, range(20))) == {401}
    assert all(check["ok"] for check in shared_machine.json("verify")["verified"])


def test_the_access_log_is_part_of_the_server_log(machine: Machine, tmp_path: Path) -> None:
    spec = tmp_path / "server.yaml"
    spec.write_text(machine.run("init", "-f", "-").stdout.replace("accessLog: false", "accessLog: true"))
    assert "accessLog: true" in spec.read_text()
    machine.run("create", "--target", "local", "-f", str(spec))
    machine.run("verify")
    lines = [
        line for line in machine.run("logs").stdout.splitlines() if '"POST /api/2.0/mlflow/runs/create" 200' in line
    ]
    assert [line.split(" ")[2] for line in lines] == ["admin"] * len(lines) != []
