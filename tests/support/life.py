"""The life of a server as a list of events, for suites that check the whole life."""

from __future__ import annotations

import json
import os
import secrets
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.machine import Machine

Event = Callable[[Any], None]  # the argument is a Machine or a subclass
ASK = """
import base64, os, urllib.request
login = os.environ["MLFLOW_TRACKING_USERNAME"] + ":" + os.environ["MLFLOW_TRACKING_PASSWORD"]
request = urllib.request.Request(os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/users/current")
request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
print("logged in:", urllib.request.urlopen(request, timeout=30).status)
"""
MAKE_MEMBER = """
import base64, os, urllib.request
login = os.environ["MLFLOW_TRACKING_USERNAME"] + ":" + os.environ["MLFLOW_TRACKING_PASSWORD"]
body = open(os.path.expanduser("~/member.json"), "rb").read()
url = os.environ["MLFLOW_TRACKING_URI"] + "/api/2.0/mlflow/users/create"
request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
print("made:", urllib.request.urlopen(request, timeout=30).status)
"""
ASK_MARK = b"logged in:"


@dataclass(frozen=True, init=False)
class Run:
    """A command, its exit code, and a text that it must print on either output."""

    words: tuple[str, ...]
    code: int
    says: str
    stdin: str

    def __init__(self, *words: str, code: int = 0, says: str = "", stdin: str = "") -> None:
        self.__dict__.update(words=words, code=code, says=says, stdin=stdin)

    def __call__(self, machine: Machine) -> None:
        done = machine.run(*self.words, code=self.code, stdin=self.stdin)
        assert self.says in done.stdout + done.stderr, (self.words, done.stdout, done.stderr)


@dataclass(frozen=True)
class Interrupted:
    """Ctrl-C in a step of a command."""

    step: str
    words: tuple[str, ...] = ("create",)

    def __call__(self, machine: Machine) -> None:
        process = machine.popen(*self.words)
        assert process.stdout
        for line in process.stdout:
            if f"] {self.step} ..." in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, "Nothing is lost" in out) == (130, True)


def clients_log_in(machine: Machine) -> None:
    """Evaluate the output of `env`, and start a client with these variables."""
    done = machine.shell(f"eval \"$($DEPLOYER env)\"; exec {sys.executable} -c '{ASK}'")
    assert "logged in: 200" in done.stdout, done.stdout


def member(machine: Machine) -> None:
    """Create an account for anna, like an administrator on the server's web page."""
    password = secrets.token_urlsafe(24)
    machine.witness.learn("the member's own password", password)
    script = machine.home / "member.py"
    script.write_text(MAKE_MEMBER)
    (machine.home / "member.json").write_text(json.dumps({"username": "anna", "password": password}))
    done = machine.shell(f'eval "$($DEPLOYER env)"; exec {sys.executable} {script} "{ASK_MARK.decode()}"')
    assert "made: 200" in done.stdout, done.stdout


def foreground(machine: Machine) -> None:
    """Run the server in the foreground, and end it with Ctrl-C."""
    process = machine.popen("run")
    assert process.stdout
    for line in process.stdout:
        if "It runs until" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0


def new_password(machine: Machine) -> None:
    """Write a chosen password to a file."""
    text = secrets.token_urlsafe(24)
    machine.witness.learn("the chosen password", text)
    (machine.home / "new").write_text(f"{text}\n")


# everyday commands for passwords, for any target
PASSWORDS: tuple[Event, ...] = (
    new_password,
    Run("rotate-password", says="old password refused"),
    clients_log_in,
    member,
    Run("rotate-password", "--user", "anna"),
    Run("rotate-password", "--user", "anna", "-o", "json"),
    Run("rotate-password", "--user", "nobody", code=1, says="no user 'nobody'"),
    Run("rotate-password", "--password-file", "new"),
    Run("rotate-password", "--password-file", "nowhere", code=2),
    Run("show-password", "--user", "anna"),
    Run("show-password", "--user", "nobody", code=1),
    Run("share"),
    Run("share", "mlflow", "--user", "anna", "-o", "json"),
    Run("share", "mlflow", "--user", "nobody", code=1),
    Run("login", says="accepts user 'admin'"),
    Run("login", "mlflow", "--username", "anna", "--password-file", "new", code=4, says="does not accept"),
    Run("logout"),
    Run("logout"),
    *(
        Run("env", "--format", form)
        for form in ("fish", "powershell", "cmd", "dotenv", "slurm", "jupyter", "docker", "github")
    ),
    Run("rotate-keys", "kek", code=2, says="could not be read any more"),
    Run("rotate-keys", "s3", code=2),
)
