"""`deployer login` and `logout`: the login is checked, MLflow finds it, and other lines of the file are preserved."""

from __future__ import annotations

import configparser
import json
import os
import pty
import random
import shlex
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.local.conftest import HOSTILE_PASSWORD, HOSTILE_USER
from tests.support.machine import Machine, kill_group

ROOT = os.geteuid() == 0
THEIRS = "# mine\n[other]\nkey = 100%\n\n[mlflow]\nmlflow_tracking_username = carol\nmlflow_tracking_password = hers\n"


@dataclass
class Person:
    """A user with a home directory, who may read the state of `server`."""

    server: Machine
    home: Path
    address: str

    @property
    def file(self) -> Path:
        return self.home / ".mlflow" / "credentials"

    def run(self, *arguments: str, env: dict[str, str] | None = None, **options: Any) -> Any:
        return self.server.run(*arguments, env={"HOME": str(self.home), **(env or {})}, **options)

    def write(self, text: str, mode: int = 0o600) -> None:
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(text)
        self.file.chmod(mode)

    def login(self) -> tuple[str | None, str | None]:
        """Return the login that MLflow finds."""
        config = configparser.ConfigParser()
        config.read(self.file)
        values = [config.get("mlflow", f"mlflow_tracking_{key}", fallback=None) for key in ("username", "password")]
        return values[0], values[1]

    def drafts(self) -> list[Path]:
        return list(self.home.rglob(".credentials.deployer-*"))


@pytest.fixture(scope="module")
def address(server: Machine) -> str:
    return str(server.json("status")["address"])


@pytest.fixture
def person(server: Machine, address: str, tmp_path: Path) -> Person:
    home = tmp_path / "home"
    home.mkdir()
    return Person(server, home, address)


OURS = (HOSTILE_USER, HOSTILE_PASSWORD)


def test_after_a_login_plain_mlflow_needs_the_address_alone(person: Person) -> None:
    done = person.run("login")
    assert HOSTILE_PASSWORD not in done.stdout + done.stderr
    assert person.file.stat().st_mode & 0o777 == 0o600
    assert person.file.parent.stat().st_mode & 0o777 == 0o700
    program = (
        "import mlflow; from mlflow.utils.credentials import read_mlflow_creds as read\n"
        "print([*read(), [e.name for e in mlflow.search_experiments()] != []])"
    )
    script = done.stdout + "exec " + shlex.join([person.server.server_python(), "-c", program])
    clean = {"PATH": "/usr/bin:/bin", "HOME": str(person.home)}
    out = subprocess.run(["sh", "-ec", script], env=clean, capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == str([*OURS, True])
    again = person.run("login")
    assert "is in" in again.stderr
    assert "already" in again.stderr
    assert "is gone" in person.run("logout").stdout
    assert person.file.read_text() == ""
    assert "Nothing to do" in person.run("logout").stdout


def test_a_login_by_address_reads_the_password_from_standard_input(person: Person) -> None:
    address = person.address
    given = ("--username", HOSTILE_USER, "--password-file", "-")
    beside = person.run("login", f"{address}/beside", *given, stdin=HOSTILE_PASSWORD, code=1)
    assert "no MLflow with a login at this address" in beside.stderr
    assert not person.file.exists()
    person.run("login", f"{address}/", *given, stdin=HOSTILE_PASSWORD)
    assert person.login() == OURS
    assert "left there" in person.run("logout", "https://other.example").stdout
    assert person.login() == OURS
    person.run("logout", address)
    assert person.login() == (None, None)


def test_a_login_by_address_prompts_and_does_not_show_the_password(person: Person) -> None:
    ours, theirs = pty.openpty()
    env = {"HOME": str(person.home)}
    process = person.server.popen("login", person.address, stdin=theirs, env=env)
    os.write(ours, f"{HOSTILE_USER}\n".encode())
    seen = b""
    while termios.tcgetattr(theirs)[3] & termios.ECHO:  # the terminal discards input that is typed before the prompt
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.write(ours, f"{HOSTILE_PASSWORD}\n".encode())
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    os.close(theirs)
    with suppress(OSError):  # Linux reports the end of a terminal as an error
        while part := os.read(ours, 1000):
            seen += part
    os.close(ours)
    assert HOSTILE_USER.encode() in seen
    assert HOSTILE_PASSWORD.encode() not in seen
    assert HOSTILE_PASSWORD not in out + err
    assert person.login() == OURS


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("login", "ADDRESS"), 2, "nobody can be asked"),
        (("login", "ADDRESS", "--username", HOSTILE_USER), 2, "--password-file FILE"),
        (("login", "--password-file", "-"), 2, "--username"),
        (("login", "http://127.0.0.1:9", "--username", "u", "--password-file", "-"), 1, "cannot be reached"),
        (("login", "nobody"), 1, "no server 'nobody'"),
        (("login", "ADDRESS", "--username", "u", "--password-file", "-"), 4, "does not accept this user name or"),
        (("login", "--username", HOSTILE_USER, "--password-file", "-"), 4, "does not accept this user name or"),
    ],
)
def test_an_invalid_login_is_refused_and_nothing_is_written(
    person: Person, arguments: tuple[str, ...], code: int, words: str
) -> None:
    (person.home / ".netrc").write_text(f"machine 127.0.0.1 login '{HOSTILE_USER}' password {HOSTILE_PASSWORD}\n")
    person.write(THEIRS)
    target = ("--target", "local") if arguments[-1] == "nobody" else ()
    typed = [argument.replace("ADDRESS", person.address) for argument in arguments]
    refused = person.run(*typed, *target, stdin="wrong-canary", code=code)
    assert words in refused.stderr
    assert "Next: " in refused.stderr
    assert "canary" not in refused.stdout + refused.stderr
    assert person.file.read_text() == THEIRS
    assert person.drafts() == []


def test_logout_restores_the_earlier_content_of_the_file(person: Person) -> None:
    person.write(THEIRS, 0o644)
    done = person.run("login")
    assert "mode 0644" in done.stderr
    assert "`deployer logout` gives it back" in done.stderr
    assert person.file.stat().st_mode & 0o777 == 0o600
    assert person.login() == OURS
    assert person.file.read_text().startswith("# mine\n[other]\nkey = 100%\n\n[mlflow]\n")
    person.file.chmod(0o640)
    assert "mode 0640" in person.run("login").stderr  # the same login again
    assert person.file.stat().st_mode & 0o777 == 0o600
    person.run("logout", "mlflow")
    assert person.file.read_text() == THEIRS
    assert "Nothing to do" in person.run("logout", "mlflow").stdout
    assert person.file.read_text() == THEIRS


def test_netrc_is_neither_read_nor_touched(person: Person) -> None:
    netrc = person.home / ".netrc"
    text = "machine 127.0.0.1 login somebody password wrong-one\n"
    netrc.write_text(text)
    before = netrc.stat()
    person.run("login")
    person.run("logout")
    assert (netrc.read_text(), netrc.stat().st_mtime_ns, netrc.stat().st_mode) == (
        text,
        before.st_mtime_ns,
        before.st_mode,
    )
    assert netrc.stat().st_atime_ns == before.st_atime_ns or netrc.stat().st_atime_ns > before.st_mtime_ns


def test_a_linked_file_stays_a_link_and_its_target_is_written(person: Person, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (person.home / ".mlflow").mkdir()
    (real / "file").write_text(THEIRS)
    person.file.symlink_to(real / "file")
    assert "leads to" in person.run("login").stderr
    assert person.file.is_symlink()
    assert person.login() == OURS
    person.run("logout")
    assert (real / "file").read_text() == THEIRS
    (real / "file").unlink()  # the link dangles
    person.run("login")
    assert person.file.is_symlink()
    assert (real / "file").stat().st_mode & 0o777 == 0o600
    assert person.login() == OURS


def test_a_linked_folder_stays_a_link_and_a_dangling_link_is_named(person: Person, tmp_path: Path) -> None:
    (person.home / ".mlflow").symlink_to(tmp_path / "elsewhere")
    refused = person.run("login", code=1)
    assert f"there is no folder {tmp_path / 'elsewhere'}" in refused.stderr
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    person.run("login")
    assert (person.home / ".mlflow").is_symlink()
    assert person.login() == OURS


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only, even for root, until the block ends."""
    if not ROOT:
        folder.chmod(0o555)
        yield
        folder.chmod(0o755)
        return
    subprocess.run(["mount", "--bind", str(folder), str(folder)], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_an_unwritable_home_is_named_and_nothing_is_lost(person: Person) -> None:
    with read_only(person.home):
        assert "cannot write" in person.run("login", code=4).stderr
    person.write(THEIRS)
    with read_only(person.file.parent):
        refused = person.run("login", code=4)
        assert f"cannot write {person.file}" in refused.stderr
        assert "`deployer env`" in refused.stderr
    assert person.file.read_text() == THEIRS


@pytest.mark.skipif(not ROOT, reason="only root can make a small file system, and give a file away")
def test_a_full_disk_leaves_the_old_file_whole(person: Person) -> None:
    folder = person.file.parent
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(folder)], check=True)
    try:
        person.write(THEIRS)
        with pytest.raises(OSError, match="No space"):
            (folder / "filler").write_bytes(b"x" * 9000)
        assert "no room left" in person.run("login", code=1).stderr
        assert person.file.read_text() == THEIRS
        assert person.drafts() == []
        (folder / "filler").unlink()
        person.run("login")
        assert person.login() == OURS
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
def test_a_file_of_somebody_else_gets_no_password(person: Person) -> None:
    person.write(THEIRS)
    os.chown(person.file, 12345, -1)
    assert "belongs to user id 12345" in person.run("login", code=4).stderr
    assert person.file.read_text() == THEIRS


def test_an_invalid_credentials_file_is_left_alone(person: Person) -> None:
    person.file.mkdir(parents=True)
    assert "is a directory" in person.run("login", code=1).stderr
    person.file.rmdir()
    os.mkfifo(person.file)
    assert "no ordinary file" in person.run("login", code=1).stderr
    person.file.unlink()
    for damaged in (b"canary = 1\n", b"[mlflow]\nx = 1\nx = 2\n", b"[mlflow]\n\xff\n"):
        person.file.write_bytes(damaged)
        refused = person.run("login", code=1)
        assert "is damaged" in refused.stderr
        assert "canary" not in refused.stderr
        assert person.file.read_bytes() == damaged
    assert "is damaged" in person.run("logout", code=1).stderr
    assert person.file.read_bytes() == damaged


def test_simultaneous_logins_leave_one_whole_login(person: Person) -> None:
    person.write(THEIRS)
    port = person.address.rpartition(":")[2]
    addresses = [f"http://127.0.0.1:{port}", f"http://localhost:{port}"]
    env = {
        "HOME": str(person.home), "MLFLOW_TRACKING_USERNAME": OURS[0], "MLFLOW_TRACKING_PASSWORD": OURS[1]
    }  # fmt: skip
    processes = [person.server.popen("login", address, env=env) for address in addresses * 3]
    for process in processes:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    assert person.login() == OURS
    assert person.drafts() == []
    person.run("logout")
    assert person.file.read_text() == THEIRS


WRITER = """
import itertools
from deployer.clients import credentials_file
from deployer.core.clients.credentials import Entry, Owner, with_login
print("begins", flush=True)
for n in itertools.count():
    entry = Entry(Owner("https://x.example"), f"user{n % 2}", f"password{n % 2}" * 2000)
    credentials_file.change(lambda text: with_login(text, entry))
"""


def test_a_kill_at_any_instant_leaves_a_whole_file_and_no_lasting_draft(person: Person, seed: int) -> None:
    person.write(THEIRS)
    chance = random.Random(f"{seed} login")
    left = 0
    for _ in range(15):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER],
            env={"HOME": str(person.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "begins\n"
        time.sleep(chance.uniform(0, 0.1))  # the random instant
        assert writer.poll() is None, writer.communicate()
        kill_group(writer)
        assert person.login() in [
            ("carol", "hers"),
            ("user0", "password0" * 2000),
            ("user1", "password1" * 2000),
        ]
        assert all(draft.stat().st_mode & 0o777 == 0o600 for draft in person.drafts())
        left += len(person.drafts())
    assert left > 0  # otherwise every kill came too late, and the test shows nothing
    person.run("login")
    assert person.drafts() == []
    person.run("logout")
    assert person.file.read_text() == THEIRS


def test_logout_removes_the_login_of_a_deleted_server_by_name(person: Person) -> None:
    person.run("login")
    person.file.write_text(person.file.read_text().replace(" mlflow\n", " gone\n"))
    assert "is gone" in person.run("logout", "gone", "--target", "local").stdout
    assert person.login() == (None, None)


def test_variables_with_precedence_over_the_file_are_unset(person: Person) -> None:
    stale = {"MLFLOW_TRACKING_USERNAME": "old", "MLFLOW_TRACKING_PASSWORD": "old-canary"}
    done = person.run("login", env=stale)
    assert "unset MLFLOW_TRACKING_USERNAME MLFLOW_TRACKING_PASSWORD\n" in done.stdout
    assert "win over the file" in done.stderr
    assert person.login() == OURS
    assert "canary" not in done.stdout + done.stderr


def test_login_bypasses_a_proxy_and_prints_the_variable(person: Person) -> None:
    done = json.loads(person.run("login", "-o", "json", env={"http_proxy": "http://127.0.0.1:9"}).stdout)
    assert any(line.startswith('export NO_PROXY="127.0.0.1') for line in done["lines"])


def test_a_password_for_one_server_is_not_sent_to_another(person: Person) -> None:
    elsewhere = {"MLFLOW_TRACKING_URI": "https://mlflow.example.org", "MLFLOW_TRACKING_PASSWORD": "for-the-other-one"}
    refused = person.run("login", person.address, "--username", "admin", env=elsewhere, code=2).stderr
    assert "password: nobody can be asked for it here" in refused
    somebody = {"MLFLOW_TRACKING_USERNAME": "admin", "MLFLOW_TRACKING_PASSWORD": "for-the-administrator"}
    refused = person.run("login", person.address, "--username", "anna", env=somebody, code=2).stderr
    assert "password: nobody can be asked for it here" in refused


PLAINTEXT = {"PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring"}


def test_the_keyring_stores_the_password_and_the_file_does_not(person: Person) -> None:
    person.run("login")
    done = person.run("login", "--keyring", env=PLAINTEXT)
    assert "taken out of" in done.stderr
    assert person.login() == (None, None)
    assert HOSTILE_PASSWORD not in done.stdout + done.stderr
    script = f'{done.stdout}printf %s "$MLFLOW_TRACKING_PASSWORD"'
    env = {"PATH": os.environ["PATH"], "HOME": str(person.home), **PLAINTEXT}
    out = subprocess.run(["sh", "-ec", script], env=env, capture_output=True, text=True, check=True).stdout
    assert out == HOSTILE_PASSWORD
    assert "is gone" in person.run("logout", "--keyring", env=PLAINTEXT).stdout
    assert "Nothing to do" in person.run("logout", "--keyring", env=PLAINTEXT).stdout
    assert subprocess.run(["sh", "-c", script], env=env, capture_output=True, text=True, check=False).stdout == ""


def test_login_without_a_keyring_says_what_to_do(person: Person, tmp_path: Path) -> None:
    none = {"PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    assert "leave --keyring out" in person.run("login", "--keyring", env=none, code=1).stderr
    null = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    assert "does not keep what it is given" in person.run("login", "--keyring", env=null, code=1).stderr
    (tmp_path / "keyring.py").write_text("raise ImportError('as where it is not installed')\n")
    missing = {"PYTHONPATH": str(tmp_path)}
    assert "pip install keyring" in person.run("login", "--keyring", env=missing, code=1).stderr
    assert not person.file.exists()
