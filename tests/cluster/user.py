"""A user of the cluster: a kubeconfig, a home, and the real command."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.cluster import shown
from tests.support.machine import Machine
from tests.testbed.api import Away
from tests.testbed.cluster import Cluster

# commands that make no secret
READING = frozenset(
    {"init", "diff", "render", "status", "list", "logs", "verify", "show-password", "env", "stop", "start", "delete"}
)


@dataclass
class User(Machine):
    """Runs `deployer` on the cluster, as the user of a kubeconfig, in one namespace."""

    cluster: Cluster | None = None
    kubeconfig: Path = Path()
    namespace: str = ""
    name: str = ""
    namespaces: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.namespaces.add(self.namespace)

    @property
    def bed(self) -> Cluster:
        assert self.cluster is not None
        return self.cluster

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "KUBECONFIG": str(self.kubeconfig), "SSL_CERT_FILE": str(self.bed.ca_file)}

    def inside(self, command: list[str]) -> list[str]:
        return self.bed.in_network(command)

    def before(self, arguments: Sequence[str], env: dict[str, str]) -> None:
        """Search for secrets before a command that may remove texts, on the cluster too."""
        if "-n" in arguments:
            self.namespaces.add(arguments[arguments.index("-n") + 1])
        with suppress(Away):  # without an API server the command cannot remove anything
            super().before(arguments, env)
            if arguments[0] not in READING or arguments[0] == "stop":
                self.look()  # logs end with their pods

    def after(self, arguments: Sequence[str]) -> None:
        """Learn the secrets that a command may have made; if the API server does not answer, do it later."""
        if arguments[0] not in READING:
            with suppress(Away):
                self.learn()

    def learn(self) -> None:
        """Learn all stored secrets, including secrets that somebody else has stored."""
        super().learn()
        for namespace in self.namespaces:
            for name, values in shown.secrets(self.bed, namespace):
                self.witness.learn_all(f"{namespace}/{name}", values)

    def look(self) -> None:
        """Search all texts that others may read for secrets, in the namespaces too."""
        super().look()
        if self.witness.secrets:
            for namespace in self.namespaces:
                for where, content in shown.shown(self.bed, namespace):
                    self.witness.examine(content, where)

    def host(self, name: str = "mlflow") -> str:
        """Return a public host name for a server, unique in the cluster."""
        return f"{name}-{self.namespace}.{self.bed.apps_domain}"

    def create(self, name: str = "mlflow", *options: str, host: bool = True) -> Any:
        """Create a server behind the Ingress and return the command's JSON."""
        public = ("--host", self.host(name), "--ingress-namespace", "ingress") if host else ()
        return self.json("create", name, *public, *options)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as this user."""
        return str(self.bed.kubectl("--kubeconfig", str(self.kubeconfig), *arguments, input=stdin))

    def on_another_laptop(self, home: Path) -> User:
        """Return the same user with the same rights and an empty home."""
        home.mkdir()
        return replace(self, home=home)

    def get(self, kind: str, name: str) -> Any:
        return json.loads(self.kubectl("get", kind, name, "-o", "json"))

    def objects(self, *kinds: str) -> set[str]:
        """Return `kind/name` of every object in the namespace, except objects that the cluster creates."""
        kinds = kinds or (
            "deployment", "replicaset", "pod", "service", "ingress", "httproute", "configmap", "secret", "pvc",
            "networkpolicy", "serviceaccount", "lease",
        )  # fmt: skip
        listed = self.kubectl("get", ",".join(kinds), "-o", "name").split()
        return {item for item in listed if item not in ("configmap/kube-root-ca.crt", "serviceaccount/default")}

    def client(self, python: str, script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a program with plain mlflow in a clean shell, after the lines that `deployer env` prints."""
        lines = self.run("env", arguments[0] if arguments else "mlflow").stdout
        clean = {"PATH": "/usr/bin:/bin", "HOME": str(self.home), **env}
        shell = shutil.which("sh") or "sh"
        done = subprocess.run(
            self.bed.in_network([shell, "-ec", f'{lines}\nexec "{python}" -c "$0"', script]),
            env=clean,
            capture_output=True,
            text=True,
            timeout=600,
            cwd=self.home,
            check=True,
        )
        self.hear("a client", done.stdout, done.stderr)
        return done
