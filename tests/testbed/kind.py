"""An existing kind cluster as a Provider, for machines with Docker.

Written from kind's documentation and never run: the machine that builds this project has no Docker. Operations on the
node itself fail with a clear error.
"""

from __future__ import annotations

import base64
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from tests.testbed.certificates import CURVE, Pair, kubeconfig
from tests.testbed.command import run
from tests.testbed.provider import Unsupported

SHORTEST_SECONDS = 600  # the API refuses certificates with a shorter validity


def _refuse(what: str) -> NoReturn:
    raise Unsupported(f"{what} needs the project's own test cluster: run without CLUSTER=kind")


@dataclass(frozen=True)
class Kind:
    """The cluster of `kind create cluster`; KIND_CLUSTER_NAME is its name (default: `kind`)."""

    name: str
    folder: Path

    @classmethod
    def find(cls) -> Kind:
        name = os.environ.get("KIND_CLUSTER_NAME", "kind")
        found = cls(name, Path(tempfile.gettempdir()) / f"mlflow-deployer-kind-{os.getuid()}-{name}")
        found.users.mkdir(parents=True, exist_ok=True, mode=0o700)
        found.admin_kubeconfig.write_text(run("kind", "get", "kubeconfig", "--name", name))
        found.ca_file.write_bytes(base64.b64decode(found._cluster()["certificate-authority-data"]))
        return found

    def _cluster(self) -> dict[str, str]:
        server: dict[str, str] = yaml.safe_load(self.admin_kubeconfig.read_text())["clusters"][0]["cluster"]
        return server

    @property
    def admin_kubeconfig(self) -> Path:
        return self.folder / "admin.kubeconfig"

    @property
    def users(self) -> Path:
        return self.folder / "users"

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def api_server(self) -> str:
        return self._cluster()["server"]

    @property
    def node_address(self) -> str:
        return "127.0.0.1"  # with kind's extraPortMappings of 80 and 443

    @property
    def audit_log(self) -> Path:
        _refuse("the audit log")

    @property
    def client_addresses(self) -> tuple[str, str]:
        _refuse("a second client address")

    def kubectl(self) -> list[str]:
        return ["kubectl", f"--kubeconfig={self.admin_kubeconfig}"]

    def user_kubeconfig(self, name: str, namespace: str, seconds: float) -> str:
        """Create a CertificateSigningRequest, which the admin approves."""
        if seconds < SHORTEST_SECONDS:
            _refuse(f"a certificate of less than {SHORTEST_SECONDS} s")
        pair = Pair(self.users / f"{namespace}-{name}.crt", self.users / f"{namespace}-{name}.key")
        request = run("openssl", "req", "-new", *CURVE, "-keyout", pair.key, "-subj", f"/CN={name}")
        spec = {
            "request": base64.b64encode(request.encode()).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "expirationSeconds": int(seconds),
            "usages": ["client auth"],
        }
        signing = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
        ask = self.kubectl()
        run(*ask, "delete", "csr", name, "--ignore-not-found")
        run(*ask, "create", "--filename=-", stdin=yaml.safe_dump({**signing, "metadata": {"name": name}, "spec": spec}))
        run(*ask, "certificate", "approve", name)
        run(*ask, "wait", "--for=jsonpath={.status.certificate}", f"csr/{name}", "--timeout=30s")
        signed = run(*ask, "get", "csr", name, "--output=jsonpath={.status.certificate}")
        pair.certificate.write_bytes(base64.b64decode(signed))
        return kubeconfig(self.api_server, self.ca_file, pair, namespace)

    def in_network(self, command: list[str]) -> list[str]:
        return command

    def in_node(self, command: list[str]) -> list[str]:
        return ["docker", "exec", f"{self.name}-control-plane", *command]

    def kill(self, service: str, signal: int) -> None:
        _refuse(f"killing {service}")

    def start(self, service: str) -> None:
        _refuse(f"starting {service}")

    def registry_fault(self, fault: dict[str, Any] | None) -> None:
        _refuse("a fault of the registry")

    def openshift(self) -> NoReturn:
        _refuse("OpenShift")

    def pss_mib(self, uid: str) -> float:
        _refuse("memory of a pod")

    def down(self) -> None:
        """Do nothing: the cluster's owner runs `kind delete cluster`."""
