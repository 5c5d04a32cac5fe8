"""A server's whole life, failures included, with every program traced: the programs that see a secret.

The server's Python gets the secrets of the server in its environment. A program that a user starts after
`eval "$(deployer env)"` gets the administrator's password, because MLflow's clients need it. No other program gets a
secret in its environment, and no program gets a secret as an argument.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from deployer.cli.app import COMMANDS
from tests.support.life import ASK_MARK, PASSWORDS, Event, Interrupted, Run, clients_log_in, foreground
from tests.support.machine import SECRETS, Machine, watched
from tests.support.secrecy import Scanner
from tests.support.tracing import Start, Tracer
from tests.support.witness import leaves

ADMIN = "admin/current"


def given_passwords(machine: Machine) -> None:
    """Write one valid and two invalid passwords into files; all of them must stay secret."""
    texts = {"good": secrets.token_urlsafe(24), "blank": f" {secrets.token_urlsafe(24)}", "umlaut": "ü" * 8}
    texts["umlaut"] += secrets.token_urlsafe(24)
    for name, text in texts.items():
        (machine.home / name).write_text(f"{text}\n")
        machine.witness.learn(f"the {name} password", text)


def learn_credentials(machine: Machine) -> None:
    for document in yaml.safe_load_all((machine.home / "credentials.yaml").read_text()):
        machine.witness.learn_all(f"credentials.yaml/{document['metadata']['name']}", document["stringData"])


def edited(part: str, key: str, value: Callable[[], str] = lambda: secrets.token_urlsafe(24)) -> Event:
    """Return an event that edits the secrets and stores a copy of the original."""

    def happen(machine: Machine) -> None:
        path = machine.state / "servers/mlflow" / SECRETS
        (machine.home / "kept").write_bytes(path.read_bytes())
        document = json.loads(path.read_text())
        document[part][key] = value()
        path.write_text(json.dumps(document))

    return happen


def mended(machine: Machine) -> None:
    path = machine.state / "servers/mlflow" / SECRETS
    (machine.home / "kept").rename(path)


def damaged_secrets(machine: Machine) -> None:
    """Cut the secrets in half, as after a full disk; a truncated value must not be quoted."""
    path = machine.state / "servers/mlflow" / SECRETS
    (machine.home / "kept").write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes()[:-40])


def damaged_database(machine: Machine) -> None:
    database = machine.state / "servers/mlflow/data/tracking.db"
    database.rename(database.with_suffix(".kept"))
    database.write_bytes(b"no database" * 1000)


def mended_database(machine: Machine) -> None:
    database = machine.state / "servers/mlflow/data/tracking.db"
    database.with_suffix(".kept").rename(database)


def crashed(machine: Machine) -> None:
    os.kill(machine.pid(), signal.SIGKILL)


FILE = ("--target", "local", "--password-file")
# Every command of `deployer` has a line here; test_the_traced_life_contains_every_command fails without it. Name
# commands that print secrets on purpose in PRINT_SECRETS (tests/support/machine.py); let the witness learn the secrets
# that a user gives to a command before the command.
LIFE: tuple[Event, ...] = (
    Run("init", "mlflow", "-f", "server.yaml"),
    Run("schema"),
    Run("profiles"),
    Run("completion", "bash"),
    Run("render"),
    Run("render", "--credentials", "credentials.yaml"),
    learn_credentials,
    given_passwords,
    Run("create", *FILE, "nowhere", code=2),
    Run("create", *FILE, "blank", code=2, says="begins or ends with a space"),
    Run("create", *FILE, "umlaut", code=2, says="printable ASCII"),
    Run("create", "-f", "server.yaml", "--target", "local"),
    Run("create", "--password-file", "good", code=5, says="leave --password-file out"),
    Run("create", says="Nothing to change"),
    Run("create", "-o", "json"),
    Run("status"),
    Run("status", "-o", "json"),
    Run("list"),
    Run("list", "-o", "json"),
    Run("logs", says="Application startup complete"),
    Run("wait", "--for", "verified"),
    Run("open"),
    Run("verify"),
    Run("verify", "-o", "json"),
    Run("env"),
    Run("env", "-o", "json"),
    clients_log_in,
    Run("diff"),
    Run("show-password"),
    *PASSWORDS,
    # edited secrets
    edited("admin", "current"),
    Run("verify", code=1, says="--recover"),
    Run("diff", code=6),
    Run("create", code=5),
    Run("status"),
    Run("rotate-password", code=5, says="--recover"),
    Run("rotate-password", "--recover"),
    Run("create", says="Nothing to change"),
    edited("admin", "current", lambda: f"№-{secrets.token_urlsafe(24)}"),  # invalid in a header
    Run("verify", code=1),
    mended,
    edited("server", "webhook-key"),
    Run("diff", code=6),
    Run("create", code=5),
    mended,
    damaged_secrets,
    Run("create", code=1, says="is damaged"),
    Run("show-password", code=1),
    mended,
    Run("create"),
    # a server that does not start, a server that crashes, a user who interrupts
    Run("stop"),
    Run("rotate-password", code=3, says="deployer start"),
    foreground,
    damaged_database,
    Run("create", code=1, says="cannot be read"),
    Run("start", code=1),
    Run("logs", "--tail", "1000"),
    Run("status", code=3),
    mended_database,
    Run("start"),
    crashed,
    Run("status", code=3),
    Interrupted("ready", ("create", "mlflow", "--default-permission", "READ")),
    Run("create", "mlflow", "--default-permission", "READ"),
    # a delete, and a second life with the same secrets
    Run("delete"),
    Run("verify", code=1, says="was deleted"),
    Run("create"),
    Run("delete", "--delete-data", code=2, says="--yes"),
    Run("delete", "--delete-data", "--yes"),
    Run("verify", code=1, says="no server"),
)


@dataclass(frozen=True)
class Lived:
    """A user after the whole life of a server, and every started program."""

    machine: Machine
    starts: list[Start]

    def known(self, text: bytes) -> set[str]:
        """Return the names of the secrets in a text."""
        return {finding.secret for finding in self.machine.witness.scanner.scan(text, "")}

    def may_see(self, start: Start) -> set[str]:
        """Return the names of the secrets that a program's environment may hold."""
        names = set(self.machine.witness.secrets.values())
        if start.path == self.machine.server_python():
            return names
        client = start.path == sys.executable and ASK_MARK in start.words
        return {name for name in names if client and name.startswith("admin/current")}


@pytest.fixture(scope="module")
def lived(environments: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    tracer = Tracer(tmp_path_factory.mktemp("traces"))
    machine = Machine(tmp_path_factory.mktemp("traced"), wrap=tracer.command)
    machine.share(environments)
    with watched([machine]):
        for event in LIFE:
            event(machine)
        yield Lived(machine, list(tracer.starts()))


def test_no_program_gets_a_secret_as_an_argument(lived: Lived) -> None:
    assert len(lived.starts) > 2 * len(LIFE)
    assert [start.path for start in lived.starts if lived.known(start.words)] == []


def test_only_the_server_and_the_users_client_get_secrets_in_their_environment(lived: Lived) -> None:
    known = {start: lived.known(start.env) for start in lived.starts}
    assert {start.path: names for start, names in known.items() if names - lived.may_see(start)} == {}
    # the trace contains environments: these programs do have secrets
    assert {start.path for start, names in known.items() if names} == {lived.machine.server_python(), sys.executable}


def test_no_output_log_record_or_file_contains_a_secret(lived: Lived) -> None:
    witness = lived.machine.witness
    assert [str(finding) for finding in witness.findings()] == []
    secrets, texts, size = witness.figures()
    # secrets given by the user, of `render`, of the server, edited
    assert (secrets >= 3 + 4 + 4 + 3, texts > len(LIFE), size > 1_000_000) == (True,) * 3


def test_the_traced_life_contains_every_command() -> None:
    assert (
        COMMANDS.keys() - {"run"} - {event.words[0] for event in LIFE if isinstance(event, Run | Interrupted)} == set()
    )


def test_a_canary_in_an_argument_or_an_environment_is_found(tmp_path: Path) -> None:
    tracer, canary = Tracer(tmp_path), secrets.token_urlsafe(24)
    for words, env in ((["true", f"https://admin:{canary}@host/"], {}), (["true"], {"CANARY": f'"{canary}"'})):
        subprocess.run(tracer.command(["env", *words]), env={"PATH": "/usr/bin:/bin", **env}, check=True)
    found = [start for start in tracer.starts() if start.path == "/usr/bin/true"]
    scanner = Scanner({canary: "canary"})
    assert [bool(scanner.scan(start.words, "")) for start in found] == [True, False]
    assert [bool(scanner.scan(start.env, "")) for start in found] == [False, True]


def test_a_document_of_secrets_is_read_to_its_last_leaf() -> None:
    document = {"admin": {"current": "a"}, "members": [{"anna": {"password": "b"}}]}
    assert dict(leaves(document)) == {("admin", "current"): "a", ("members", "0", "anna", "password"): "b"}
