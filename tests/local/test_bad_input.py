"""Each invalid name, file, port or interpreter is refused with the next step; no data is lost, and no files remain."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.local.conftest import HOSTILE_USER
from tests.soak.test_disk_full import small_disk
from tests.support.killing import interrupt_in_step
from tests.support.machine import Machine, kill_group

CREATE = ("create", "--target", "local")
ANOTHER_BOOT = "00000000-0000-0000-0000-000000000000"
HEADER = "apiVersion: mlflow-deployer.github.io/v1alpha1\nkind: MLflowServer\n"


@pytest.mark.parametrize(
    "name",
    ["", "Mlflow", "ml_flow", "-x-", "1st", "a" * 54, "../../etc", "a/b", "a.b", "mlflow\n", "ä", "x;id", "$(id)"],
)
def test_a_name_must_be_a_dns_label(machine: Machine, name: str) -> None:
    require_refused(machine, "create", name)


@pytest.mark.parametrize("command", ["status", "delete", "show-password", "render"])
def test_every_command_refuses_a_path_as_a_name(machine: Machine, command: str) -> None:
    require_refused(machine, command, "../../etc")


def require_refused(machine: Machine, command: str, name: str) -> None:
    refused = machine.here(command, "--", name, code=2)
    assert "name" in refused.stderr.lower()
    assert refused.stdout == ""
    assert not (machine.state / "servers").exists() or list((machine.state / "servers").iterdir()) == []


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "too-large": (b"#" * (10 << 20), "larger than"),
    "not-utf-8": (b"\xff\xfe\x00", "not UTF-8"),
    "bomb": (b"a: &a [x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "aliases are not allowed"),
    "deep": (b"[" * 10_000, "nested deeper"),
    "list": (b"- a\n", "must be a mapping"),
    "tabs": (b"a:\n\tb: c\n", "line 2"),
    "two": (f"{HEADER}---\n{HEADER}".encode(), "line 3: a second document begins here"),
    "twice": (f"{HEADER}{HEADER}".encode(), "twice"),
    "misspelt": (f"{HEADER}spec: {{databse: {{}}, local: {{prot: 1}}}}\n".encode(), "did you mean 'port'?"),
    "unbuilt": (f"{HEADER}spec: {{database: {{type: postgres}}}}\n".encode(), "not available in this release"),
    "not-local": (f"{HEADER}spec: {{exposure: {{type: route}}}}\n".encode(), "local has no route"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_spec_file_with_mistakes_is_refused(machine: Machine, case: str) -> None:
    content, wanted = BAD_FILES[case]
    (machine.home / "spec.yaml").write_bytes(content)
    refused = machine.here("create", "-f", "spec.yaml", "--target", "local", code=2)
    assert wanted in refused.stderr
    assert "spec.yaml" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("path", [".", "missing.yaml", "/dev/zero", "a\0b"[:1] + "/b", "x" * 300])
def test_an_unreadable_spec_file_is_refused(machine: Machine, path: str) -> None:
    refused = machine.here("create", "-f", path, "--target", "local", code=2)
    assert "cannot be read as a spec file" in refused.stderr


@pytest.mark.parametrize(
    ("password", "wanted"),
    [
        ("short", "at least 12"),
        ("pässword-with-umlaut", "printable ASCII"),
        ("two\nlines-of-text", "standard input has 2 lines, and a password is one line"),
        ("", "is empty"),
        ("x" * (1 << 20), "standard input is too long: a password has at most 1024 characters"),
    ],
)
def test_a_password_invalid_for_mlflow_is_refused_and_not_printed(machine: Machine, password: str, wanted: str) -> None:
    refused = machine.here("create", "--target", "local", "--password-file", "-", stdin=password, code=2)
    assert wanted in refused.stderr
    assert not password or password not in refused.stderr


@pytest.mark.parametrize("user", ["a:b", "", " a", "ü", "a\nb"])
def test_an_invalid_user_name_is_refused(machine: Machine, user: str) -> None:
    assert "Error: --username" in machine.here("create", "--target", "local", "--username", user, code=2).stderr


@pytest.mark.parametrize("port", ["0", "80", "65536", "x"])
def test_an_invalid_port_is_refused(machine: Machine, port: str) -> None:
    assert f"--port {port}: must be a whole number" in machine.here("create", "--port", port, code=2).stderr


def test_a_port_in_use_is_named_and_another_can_be_chosen(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = machine.run("create", "--target", "local", "--port", str(port), code=5)
        assert f"port {port}" in refused.stderr
        assert "--port" in refused.stderr
        assert machine.processes() == []
    assert machine.create("mlflow", "--port", str(port))["address"].endswith(f":{port}")


@pytest.mark.parametrize("python", ["/nonexistent/python", "/bin/ls", "/etc/passwd", "/", "no-such-python"])
def test_a_wrong_interpreter_is_refused(machine: Machine, python: str) -> None:
    refused = machine.here("create", "--target", "local", "--python", python, code=2)
    assert f"--python (spec.local.python) {python}: " in refused.stderr


def test_a_nonexistent_release_is_refused_with_the_newest_named_and_leaves_no_files(
    bare_machine: Machine,
) -> None:
    failed = bare_machine.run("create", "--target", "local", "--mlflow-version", "3.17.999", code=1)
    assert "the package index has no release 3.17.999 of mlflow" in failed.stderr
    assert re.search(r"Next: the newest 3\.17 is (3\.17\.[0-9]+): --mlflow-version \1$", failed.stderr, re.MULTILINE)
    assert bare_machine.processes() == []
    assert list((bare_machine.state / "environments").iterdir()) == []
    assert bare_machine.json("list") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_without_enough_room_is_refused_before_anything_is_written(
    bare_machine: Machine, environments: Path
) -> None:
    machine = bare_machine
    with small_disk(machine.state, "800m"):
        refused = machine.run(*CREATE, code=1).stderr
        assert f"not enough room in {machine.state}/environments: 908 MiB are needed" in refused
        assert "900 MiB for MLflow" in refused
        assert "8 MiB for the server's data" in refused
        assert {path.name for path in machine.state.rglob("*")} == {"servers", "environments"}
    machine.state.rmdir()
    with small_disk(machine.state, "6m"):
        (machine.state / "environments").symlink_to(environments)
        assert "8 MiB are needed (8 MiB for the server's data)" in machine.run(*CREATE, code=1).stderr
        assert list((machine.state / "servers").iterdir()) == []


def test_stop_and_delete_need_no_room_on_a_full_disk(bare_machine: Machine, environments: Path) -> None:
    machine = bare_machine
    with small_disk(machine.state, "32m"):
        (machine.state / "environments").symlink_to(environments)
        machine.create()
        with (machine.state / "ballast").open("wb", buffering=0) as ballast, pytest.raises(OSError, match="No space"):
            ballast.writelines(bytes(4096) for _ in range(1 << 14))
        machine.run("stop")
        assert machine.processes() == []
        machine.run("delete", "--delete-data", "--yes")
        assert list((machine.state / "servers").iterdir()) == []


def test_an_unsupported_release_is_refused_before_anything_is_done(machine: Machine) -> None:
    assert "not supported" in machine.here("create", "--target", "local", "--mlflow-version", "2.9.0", code=2).stderr


def test_an_unwritable_state_directory_is_named(machine: Machine) -> None:
    (machine.home / "file").write_text("")
    refused = machine.run(
        "create", "--target", "local", env={"XDG_STATE_HOME": str(machine.home / "file" / "below")}, code=1
    )
    assert "XDG_STATE_HOME" in refused.stderr
    refused = machine.run("list", env={"XDG_STATE_HOME": "/proc/1"}, code=None)
    assert refused.returncode in (1, 4)
    assert "XDG_STATE_HOME" in refused.stderr


@pytest.mark.parametrize("odd", ["100%", "what?", "a#b"])
def test_a_state_directory_invalid_in_mlflow_uris_is_refused(machine: Machine, odd: str) -> None:
    assert "another directory" in machine.here("list", env={"XDG_STATE_HOME": f"{machine.home}/{odd}"}, code=1).stderr


def test_a_state_directory_with_blanks_and_umlauts_works(machine: Machine, environments: Path) -> None:
    odd = machine.home / "state" / "grüße an alle + $HOME & {co}"
    (odd / "mlflow-deployer").mkdir(parents=True)
    (odd / "mlflow-deployer" / "environments").symlink_to(environments)
    machine.run("create", "--target", "local", env={"XDG_STATE_HOME": str(odd)})
    machine.run("delete", "--delete-data", "--yes", env={"XDG_STATE_HOME": str(odd)})


def test_loose_permissions_of_the_state_directory_are_tightened(machine: Machine) -> None:
    machine.state.chmod(0o755)
    machine.run("list")
    assert machine.state.stat().st_mode & 0o777 == 0o700


def test_damaged_state_is_named_and_not_overwritten(machine: Machine) -> None:
    machine.create()
    record = machine.state / "servers/mlflow/record.json"
    for damage in ("{", "[]", '{"spec": {}}', "\0" * 100):
        record.write_text(damage)
        for command in ("status", "create", "delete"):
            refused = machine.here(command, code=1).stderr
            assert "record.json" in refused
            assert "Next: put the file back from a backup; without one, `deployer delete mlflow" in refused
        assert record.read_text() == damage
    whole = machine.state / "servers/mlflow/secrets.json"
    for damage in ("{", "{}"):
        whole.write_text(damage)
        assert "Next: put the file back from a backup" in machine.here("show-password", code=1).stderr
    machine.run("delete", "--delete-data", "--yes")
    assert (machine.processes(), list((machine.state / "servers").iterdir())) == ([], [])


def test_missing_credentials_are_reported_and_the_data_stays(machine: Machine) -> None:
    machine.create()
    (machine.state / "servers/mlflow/secrets.json").unlink()
    for command, code in (("show-password", 1), ("start", 5), ("create", 5), ("rotate-password", 1)):
        refused = machine.here(command, code=code).stderr
        assert "secrets.json" in refused
        assert " gone" in refused
        assert "from a backup" in refused
        assert "--recover" not in refused
    machine.run("delete", "--delete-data", "--yes")


def test_create_never_ignores_a_cluster_in_the_kubeconfig(server: Machine) -> None:
    config = server.home / "config"
    config.write_text("current-context: team@cluster\n")
    refused = server.run("create", "new", env={"KUBECONFIG": str(config)}, code=2)
    assert "team@cluster" in refused.stderr
    assert "--target local" in refused.stderr
    assert "is known here" in server.run("create", env={"KUBECONFIG": str(config)}).stderr


def test_two_creates_of_one_name_at_once_end_in_one_server(machine: Machine) -> None:
    both = [machine.popen("create", "--target", "local") for _ in range(2)]
    ends = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert len(machine.processes()) == 1
    assert machine.remains() == []


def test_simultaneous_creates_of_many_names_get_different_ports(machine: Machine) -> None:
    names = ["one", "two", "three"]
    many = [machine.popen("create", name, "--target", "local") for name in names]
    ends = [process.communicate(timeout=180) for process in many]
    assert [process.returncode for process in many] == [0] * 3, ends
    assert len({machine.record(name)["assigned"]["ports"]["http"] for name in names}) == 3


def test_ctrl_c_says_that_nothing_is_lost_and_the_same_command_continues(machine: Machine) -> None:
    for step in ("record", "ready"):
        interrupt_in_step(machine, CREATE, step)
    machine.run("stop")
    require_next_create_completes(machine, "start")


@pytest.mark.full_scale  # outside of the full scale, test_external.py interrupts an installation
def test_ctrl_c_while_mlflow_is_installed_loses_nothing(bare_machine: Machine) -> None:
    require_next_create_completes(bare_machine, "environment")


def require_next_create_completes(machine: Machine, step: str) -> None:
    """Interrupt a `create` in a step, and check that the next `create` succeeds."""
    interrupt_in_step(machine, CREATE, step)
    machine.create()
    assert machine.remains() == []
    assert len(machine.processes()) == 1


def test_a_signal_ignored_from_the_start_stays_ignored(server: Machine) -> None:
    process = server.program(["sh", "-c", f'trap "" HUP; exec {server.command()[0]} logs --follow'], ("logs",))
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)  # nohup ignores this signal
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Nothing is lost" not in err


def test_a_signal_ends_a_prompt(server: Machine) -> None:
    process = server.program(
        ["script", "--quiet", "--return", "--command", f"{server.command()[0]} delete --delete-data", "/dev/null"],
        ("delete",),
        stdin=subprocess.PIPE,
    )
    assert process.stdout is not None
    said = ""
    while "Type its name" not in said:
        said += process.stdout.read(1)
    (asking,) = [pid for pid in server.processes() if server.command_line(pid).endswith(b"delete\0--delete-data\0")]
    os.kill(asking, signal.SIGHUP)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGHUP
    assert "Interrupted by SIGHUP" in out
    assert server.json("status")["state"] == "ready"


def test_a_wrong_name_at_the_prompt_deletes_nothing(server: Machine) -> None:
    process = server.program(
        ["script", "--quiet", "--return", "--command", f"{server.command()[0]} delete --delete-data", "/dev/null"],
        ("delete",),
        stdin=subprocess.PIPE,
    )
    out, _ = process.communicate("another\n", timeout=60)
    assert process.returncode == 2
    assert "that is not its name; nothing was deleted" in out
    assert server.json("status")["state"] == "ready"


def test_a_closed_pipe_causes_no_traceback(server: Machine) -> None:
    process = server.popen("logs", "--follow")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.wait(30)
    process.stderr.close()


def test_a_killed_deployer_releases_its_lock(machine: Machine) -> None:
    holder = machine.popen("create", "--target", "local")
    assert holder.stderr is not None
    for line in holder.stderr:
        if "] start ..." in line:
            break
    thread = threading.Thread(target=machine.create)
    thread.start()
    kill_group(holder)
    thread.join(120)
    assert not thread.is_alive()
    assert machine.json("status")["proven"] is True
    assert machine.remains() == []


@pytest.mark.parametrize(
    "change",
    [("--python", "/nonexistent/python"), ("--port", "PORT"), ("--mlflow-version", "3.17.999")],
    ids=lambda c: c[0],
)
def test_an_impossible_change_changes_nothing(server: Machine, change: tuple[str, str]) -> None:
    before, pid = server.record(), server.pid()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        value = str(taken.getsockname()[1]) if change[1] == "PORT" else change[1]
        server.run("create", "mlflow", change[0], value, code=None)
    assert (server.record(), server.pid()) == (before, pid)
    assert server.json("create")["changed"] is False


def test_a_change_of_only_the_record_is_reported_as_a_change(server: Machine) -> None:
    port = server.record()["assigned"]["ports"]["http"]  # the assigned port, now requested
    spec = {"auth": {"adminUsername": HOSTILE_USER}, "local": {"port": port}}
    (server.home / "spec.yaml").write_text(f"{HEADER}spec: {json.dumps(spec)}\n")
    assert server.json("create", "-f", "spec.yaml", "--target", "local")["changed"] is True


def test_a_setting_without_effect_is_refused_and_not_stored(server: Machine) -> None:
    before, pid = server.record(), server.pid()
    refused = server.run("create", "--storage-class", "a", code=2).stderr
    assert "Error: --storage-class a needs a cluster, and this server runs on this machine" in refused
    assert "Change:" not in refused
    (server.home / "spec.yaml").write_text(f"{HEADER}spec:\n  volume: {{storageClass: a}}\n")
    assert "line 4: spec.volume.storageClass: needs" in server.run("create", "-f", "spec.yaml", code=2).stderr
    assert (server.record(), server.pid()) == (before, pid)


def test_a_server_with_a_stored_setting_without_effect_is_still_managed(server: Machine) -> None:
    """Earlier releases stored such flags."""
    path, pid = server.state / "servers/mlflow/record.json", server.pid()
    record = server.record()
    record["spec"]["spec"]["volume"]["storageClass"] = "a"
    record["spec"]["metadata"]["labels"] = {"team": "a"}
    path.write_text(json.dumps(record))
    assert server.json("status")["state"] == "ready"
    said = server.run("create").stderr
    assert "Dropped from the stored spec: spec.volume.storageClass needs a cluster" in said
    assert server.record()["spec"]["spec"]["volume"]["storageClass"] is None
    assert "Dropped" not in server.run("create").stderr
    assert server.pid() == pid


def test_the_log_begins_without_a_warning_of_a_library(server: Machine) -> None:
    log = (server.state / "servers/mlflow/server.log").read_text()
    assert log
    assert "deprecated" not in log
    assert "Warning" not in log.splitlines()[0]


def test_a_damaged_server_neither_hides_nor_blocks_other_servers(server: Machine) -> None:
    record = server.state / "servers/mlflow/record.json"
    whole = record.read_bytes()
    record.write_text("{")
    assert server.create("two")["changed"] is True
    assert {view["name"]: view["state"] for view in server.json("list")} == {"mlflow": "damaged", "two": "ready"}
    record.write_bytes(whole)
    server.run("delete", "two", "--delete-data", "--yes")


def test_an_unreadable_kubeconfig_never_leads_to_a_local_server(server: Machine) -> None:
    config = server.home / "config"
    for content in ("{", "a: 2024-99-99"):
        config.write_text(content)
        refused = server.here("create", "new", env={"KUBECONFIG": str(config)}, code=2)
        assert "add --target local" in refused.stderr
    assert "cannot be read" in server.here("create", "new", env={"KUBECONFIG": str(server.home)}, code=2).stderr
    server.run("create", "--target", "local", env={"KUBECONFIG": str(config)})


def test_closed_standard_streams_cause_no_traceback(machine: Machine) -> None:
    for line in (
        "create --target local <&- >&-",
        "status <&- >&- 2>&-",
        "list >&-",
        "delete --delete-data --yes <&- 2>&-",
    ):
        done = machine.shell(f"$DEPLOYER {line}")
        assert "Traceback" not in done.stderr


def test_the_loopback_address_bypasses_the_proxy(server: Machine) -> None:
    proxied = {"http_proxy": "http://127.0.0.1:9"}
    assert 'NO_PROXY="127.0.0.1' in server.run("env", env=proxied).stdout
    assert "NO_PROXY" not in server.run("env", env={**proxied, "no_proxy": "127.0.0.1"}).stdout
    server.run("verify", env=proxied)


@pytest.fixture(scope="module")
def identity(server: Machine) -> dict[str, Any]:
    """The process record of the running server."""
    found: dict[str, Any] = json.loads((server.state / "servers/mlflow/process.json").read_text())
    return found


@pytest.fixture
def stopped(server: Machine, identity: dict[str, Any]) -> Machine:
    """The user of `server`, after a stop. The tests that use this fixture come last in this file."""
    if server.processes():
        server.run("stop")
    return server


def test_the_port_of_another_server_is_refused_even_while_that_server_is_stopped(stopped: Machine) -> None:
    port = str(stopped.record()["assigned"]["ports"]["http"])
    refused = stopped.here("create", "two", "--target", "local", "--port", port, code=5).stderr
    assert "belongs to your server mlflow" in refused


def test_a_recycled_pid_is_never_killed(stopped: Machine, identity: dict[str, Any]) -> None:
    """The record names a pid that now belongs to another process: after a reboot, and in the same boot."""
    record = stopped.state / "servers/mlflow/process.json"
    with subprocess.Popen(["sleep", "600"]) as innocent:
        try:
            for boot in (identity["boot"], ANOTHER_BOOT):
                for command in ("stop", "delete", "create"):
                    record.write_text(json.dumps({**identity, "pid": innocent.pid, "boot": boot}))
                    stopped.run(command)
                    stopped.run("stop", code=None)
                    assert innocent.poll() is None
        finally:
            innocent.kill()


def test_a_server_of_another_host_is_neither_killed_nor_started_again(
    stopped: Machine, identity: dict[str, Any]
) -> None:
    record = stopped.state / "servers/mlflow/process.json"
    record.write_text(json.dumps({**identity, "boot": "other", "host": "login7"}))
    for command in ("create", "stop", "delete"):
        refused = stopped.here(command, code=5)
        assert "login7" in refused.stderr
        assert "deployer stop mlflow --take-over" in refused.stderr
    record.unlink()


def test_a_server_locked_by_another_machine_is_elsewhere_and_never_killed(
    stopped: Machine, identity: dict[str, Any]
) -> None:
    """The lock is held as on a network file system that shares locks between machines."""
    record = stopped.state / "servers/mlflow/process.json"
    record.write_text(json.dumps({**identity, "boot": "other", "host": "login7"}))
    with record.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert stopped.json("status", code=3)["state"] == "elsewhere"
        for command in ("create", "stop", "delete"):
            assert "login7" in stopped.run(command, code=5).stderr
    record.unlink()


def test_a_start_waiting_for_a_delete_creates_no_server(stopped: Machine) -> None:
    lock, folder = stopped.state / "servers/.mlflow.lock", stopped.state / "servers/mlflow"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        starting = stopped.popen("start")
        assert starting.stderr is not None
        for line in starting.stderr:
            if "waiting for" in line:
                break
        folder.rename(stopped.home / "deleted meanwhile")
        lock.unlink()
    _, err = starting.communicate(timeout=60)
    assert starting.returncode == 5
    assert "changed or deleted this server in the meantime" in err
    assert stopped.processes() == []
    (stopped.home / "deleted meanwhile").rename(folder)


def test_start_fails_when_the_port_of_the_server_is_in_use(stopped: Machine) -> None:
    with socket.create_server(("127.0.0.1", stopped.record()["assigned"]["ports"]["http"])):
        assert "cannot be used" in stopped.run("start", code=5).stderr


def test_unwritable_output_is_a_one_line_error_and_unwritable_progress_is_ignored(stopped: Machine) -> None:
    stopped.shell("$DEPLOYER start 2>/dev/full")
    full = stopped.shell("$DEPLOYER list >/dev/full", code=1)
    assert full.stderr == "Error: cannot write to standard output: No space left on device\n"


def test_a_reboot_is_detected_and_create_starts_the_server_again(stopped: Machine, identity: dict[str, Any]) -> None:
    (stopped.state / "servers/mlflow/process.json").write_text(json.dumps({**identity, "boot": ANOTHER_BOOT}))
    assert stopped.json("status", code=3)["state"] == "rebooted"
    stopped.create()
    assert stopped.json("status")["proven"] is True
