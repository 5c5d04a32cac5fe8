"""A server's whole life on a cluster, including failures: no program, object or log receives a secret."""

from __future__ import annotations

import base64
import json
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from deployer.cli.app import COMMANDS
from tests.cluster.shown import logs_of_the_node
from tests.cluster.user import User
from tests.support.life import ASK_MARK, PASSWORDS, Event, Interrupted, Run, clients_log_in
from tests.support.machine import watched
from tests.support.tracing import Start, Tracer
from tests.testbed.cluster import Cluster

pytestmark = pytest.mark.full_scale

NO_SERVER = {
    "init",
    "schema",
    "profiles",
    "render",
    "completion",
}  # commands without requests to a cluster; tests/local traces them


def create(*options: str, code: int = 0, says: str = "") -> Event:
    """Return an event: `create` behind the Ingress, with a host of the namespace."""
    return lambda user: Run(
        "create", "--host", user.host(), "--ingress-namespace", "ingress", *options, code=code, says=says
    )(user)


def kubectl(*words: str) -> Event:
    return lambda user: user.kubectl(*words)


def edited(part: str, key: str, value: Callable[[], str] = lambda: secrets.token_urlsafe(24)) -> Event:
    """Return an event: somebody edits a Secret by hand, and saves its former content."""

    def happen(user: User) -> None:
        secret = user.get("secret", f"mlflow-{part}")
        (user.home / "kept").write_text(json.dumps({"data": secret["data"]}))
        secret["data"][key] = base64.b64encode(value().encode()).decode()
        user.kubectl("replace", "-f", "-", stdin=json.dumps(secret))
        user.learn()

    return happen


def restored(part: str) -> Event:
    """Return an event: somebody restores the former content of an edited Secret."""

    def happen(user: User) -> None:
        kept = json.loads((user.home / "kept").read_text())
        user.kubectl("replace", "-f", "-", stdin=json.dumps({**user.get("secret", f"mlflow-{part}"), **kept}))

    return happen


def spec_files(user: User) -> None:
    """Write a spec whose server ends at once, and a spec whose server keeps running."""
    header = {"apiVersion": "mlflow-deployer.github.io/v1alpha1", "kind": "MLflowServer"}
    pod = {"containers": [{"name": "server", "command": ["sh", "-c", "echo the last words; exit 1"]}]}
    patch = {"kind": "Deployment", "patch": {"spec": {"template": {"spec": pod}}}}
    for name, patches in (("broken", [patch]), ("whole", [])):
        spec = {"exposure": {"type": "none"}, "patches": patches}
        (user.home / f"{name}.json").write_text(json.dumps({**header, "spec": spec}))


# Every command with requests to a cluster has a line; for a new command without a line, the last test fails.
LIFE: tuple[Event, ...] = (
    create("--password-file", "nowhere", code=2),
    Interrupted("start", ("create", "--expose", "none")),
    create(),
    create(says="Nothing to change"),
    create("-o", "json"),
    Run("status"),
    Run("status", "-o", "json"),
    Run("list"),
    Run("logs", says="Application startup complete"),
    Run("wait", "--for", "verified"),
    Run("open"),
    Run("verify"),
    Run("env"),
    Run("env", "-o", "json"),
    clients_log_in,
    Run("show-password"),
    *PASSWORDS,
    Run("run", "--target", "kubernetes", code=2, says="of this machine"),
    Run("diff"),
    # somebody else changes an object and Secrets
    kubectl("set", "env", "deployment/mlflow", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=true"),
    Run("diff", code=6),
    Run("diff", "-o", "json", code=6),
    create(code=5, says="kubectl-set"),
    create("--force-conflicts"),
    edited("admin", "current"),
    Run("verify", code=1, says="--recover"),
    Run("diff", code=6),
    create(code=5),
    Run("rotate-password", code=5, says="--recover"),
    Run("rotate-password", "--recover"),
    create(says="Nothing to change"),
    edited("admin", "current", lambda: f"№-{secrets.token_urlsafe(24)}"),  # a password that no header can hold
    Run("verify", code=1),
    restored("admin"),
    edited("server", "webhook-key"),
    Run("diff", code=6),
    create(code=5),
    restored("server"),
    # a server that does not start
    spec_files,
    Run("create", "-f", "broken.json", code=3, says="the last words"),
    Run("status", code=3),
    Run("create", "-f", "whole.json"),
    Run("stop"),
    Run("status", code=3),
    Run("start"),
    # the end, and another life
    Run("delete"),
    Run("verify", code=1, says="was deleted"),
    create(),
    Run("delete", "--delete-data", "--yes"),
    Run("verify", code=1, says="no server"),
)


@dataclass(frozen=True)
class Lived:
    """The user after the life of the server, and every program that was started."""

    user: User
    starts: list[Start]

    def secrets_in(self, text: bytes) -> set[str]:
        """Return the names of the secrets in a text."""
        return {finding.secret for finding in self.user.witness.scanner.scan(text, "")}


@pytest.fixture(scope="module")
def lived(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    home, tracer = tmp_path_factory.mktemp("traced"), Tracer(tmp_path_factory.mktemp("traces"))
    with ExitStack() as stack:
        namespace = stack.enter_context(cluster.namespace())
        kubeconfig = cluster.user("traced", namespace)
        user = User(
            home, wrap=tracer.command, cluster=cluster, kubeconfig=kubeconfig, namespace=namespace, name="traced"
        )
        stack.enter_context(watched([user]))
        for event in LIFE:
            event(user)
        yield Lived(user, list(tracer.starts()))


def test_no_program_gets_a_secret_as_an_argument(lived: Lived) -> None:
    assert len(lived.starts) > 2 * len(LIFE)
    assert [start.path for start in lived.starts if lived.secrets_in(start.words)] == []


def test_only_the_user_s_client_has_a_secret_in_its_environment(lived: Lived) -> None:
    known = {start: lived.secrets_in(start.env) for start in lived.starts}
    clients = [start for start, names in known.items() if names]
    assert {(client.path, ASK_MARK in client.words) for client in clients} == {(sys.executable, True)}
    assert {name.partition(" ")[0] for client in clients for name in known[client]} == {"current"}


def test_no_output_object_event_or_log_contains_a_secret(lived: Lived) -> None:
    witness = lived.user.witness
    for where, content in logs_of_the_node(lived.user.bed):
        witness.examine(content, where)
    assert [str(finding) for finding in witness.findings()] == []
    secrets, texts, size = witness.figures()
    # 4 secrets of the server, 3 edited ones
    assert (secrets >= 4 + 3, texts > len(LIFE), size > 1_000_000) == (True,) * 3


def test_every_cluster_command_is_part_of_the_traced_life() -> None:
    traced = {event.words[0] for event in LIFE if isinstance(event, Run | Interrupted)} | {"create"}
    assert COMMANDS.keys() - traced - NO_SERVER == set()
