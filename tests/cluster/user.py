"""A user of the cluster: a kubeconfig, a home of their own, and the real command."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.cluster.testbed.cluster import Cluster
from tests.local.machine import Machine


@dataclass
class User(Machine):
    """Runs `deployer` against the cluster, as the one whom a kubeconfig names, in one namespace."""

    cluster: Cluster | None = None
    kubeconfig: Path = Path()
    namespace: str = ""
    name: str = ""

    @property
    def bed(self) -> Cluster:
        assert self.cluster is not None
        return self.cluster

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "KUBECONFIG": str(self.kubeconfig), "SSL_CERT_FILE": str(self.bed.ca_file)}

    def command(self, *arguments: str) -> list[str]:
        return self.bed.in_network(super().command(*arguments))

    def host(self, name: str = "mlflow") -> str:
        """Return a public host name for a server, of its own in the whole cluster."""
        return f"{name}-{self.namespace}.{self.bed.apps_domain}"

    def create(self, name: str = "mlflow", *options: str, host: bool = True) -> Any:
        """Create a server behind the Ingress and return the command's JSON."""
        public = ("--host", self.host(name), "--ingress-namespace", "ingress") if host else ()
        return self.json("create", name, *public, *options)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as this user."""
        return str(self.bed.kubectl("--kubeconfig", str(self.kubeconfig), *arguments, input=stdin))

    def on_another_laptop(self, home: Path) -> User:
        """Return the same person with the same rights at an empty home."""
        home.mkdir()
        return replace(self, home=home)

    def get(self, kind: str, name: str) -> Any:
        return json.loads(self.kubectl("get", kind, name, "-o", "json"))

    def objects(self, *kinds: str) -> set[str]:
        """Return `kind/name` of what is in the namespace, but for what the cluster itself puts there."""
        kinds = kinds or (
            "deployment", "replicaset", "pod", "service", "ingress", "httproute", "configmap", "secret", "pvc",
            "networkpolicy", "serviceaccount", "lease",
        )  # fmt: skip
        listed = self.kubectl("get", ",".join(kinds), "-o", "name").split()
        return {item for item in listed if item not in ("configmap/kube-root-ca.crt", "serviceaccount/default")}

    def client(self, python: str, script: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Paste what `deployer env` prints into a clean shell and run a program with plain mlflow there."""
        lines = self.run("env", arguments[0] if arguments else "mlflow").stdout
        clean = {"PATH": "/usr/bin:/bin", "HOME": str(self.home), **env}
        shell = shutil.which("sh") or "sh"
        return subprocess.run(
            self.bed.in_network([shell, "-ec", f'{lines}\nexec "{python}" -c "$0"', script]),
            env=clean,
            capture_output=True,
            text=True,
            timeout=600,
            cwd=self.home,
            check=True,
        )
