"""The seam between the tests' Cluster and its platform: this machine's testbed, or kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from tests.testbed.openshift.installation import Installation


class Unsupported(RuntimeError):
    """The cluster in use cannot do this."""


class Provider(Protocol):
    @property
    def admin_kubeconfig(self) -> Path: ...
    @property
    def users(self) -> Path:
        """A folder for the kubeconfigs of users."""

    @property
    def api_server(self) -> str: ...
    @property
    def node_address(self) -> str: ...
    @property
    def ca_file(self) -> Path: ...
    @property
    def audit_log(self) -> Path: ...
    @property
    def client_addresses(self) -> tuple[str, str]:
        """The default source address of this machine's requests, and a second one."""

    def kubectl(self) -> list[str]:
        """The program and its flags, to be followed by arguments."""

    def user_kubeconfig(self, name: str, namespace: str, seconds: float) -> str:
        """A kubeconfig with a client certificate for CN=name."""

    def in_network(self, command: list[str]) -> list[str]: ...
    def in_node(self, command: list[str]) -> list[str]: ...
    def kill(self, service: str, signal: int) -> None: ...
    def start(self, service: str) -> None: ...
    def registry_fault(self, fault: dict[str, Any] | None) -> None: ...
    def openshift(self) -> Installation: ...
    def pss_mib(self, uid: str) -> float:
        """Memory of all processes of the pod with this uid."""

    def down(self) -> None: ...
