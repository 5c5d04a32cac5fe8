"""The tests' interface to the cluster: users, namespaces, kubectl, the audit log and faults, on any Provider."""

from __future__ import annotations

import json
import os
import secrets
import signal as signals
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from tests.testbed import testbed
from tests.testbed.api import Api, api_at
from tests.testbed.certificates import YEAR
from tests.testbed.command import run, wait_until
from tests.testbed.configuration import APPS_DOMAIN, ROUTES_DOMAIN
from tests.testbed.kind import Kind
from tests.testbed.openshift import project
from tests.testbed.provider import Provider

RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


@dataclass(frozen=True)
class Cluster:
    """A running cluster; `provider` is the part that depends on the machine or service."""

    provider: Provider
    apps_domain: str = APPS_DOMAIN
    routes_domain: str = ROUTES_DOMAIN

    @classmethod
    def up(cls, directory: Path | None = None) -> Cluster:
        """Return the cluster of this checkout or of a run directory, or kind's; start it if necessary."""
        if os.environ.get("CLUSTER") == "kind":
            return cls(Kind.find())
        return cls(testbed.up(directory or testbed.DIRECTORY))

    @classmethod
    def running(cls, directory: Path | None = None) -> bool:
        return os.environ.get("CLUSTER") == "kind" or testbed.is_up(directory or testbed.DIRECTORY)

    def down(self) -> None:
        self.provider.down()

    @property
    def admin_kubeconfig(self) -> Path:
        return self.provider.admin_kubeconfig

    @property
    def api_server(self) -> str:
        return self.provider.api_server

    @property
    def node_address(self) -> str:
        return self.provider.node_address

    @property
    def ca_file(self) -> Path:
        """The authority that signed the certificates of `*.apps.test`, of `*.routes.test` and of the API server."""
        return self.provider.ca_file

    @property
    def audit_log(self) -> Path:
        return self.provider.audit_log

    @property
    def client_addresses(self) -> tuple[str, str]:
        """Two source addresses of this machine: the default, and another one for `curl --interface ADDRESS`."""
        return self.provider.client_addresses

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - subprocess' own name for it
        return run(*self.provider.kubectl(), *arguments, stdin=input)

    @property
    def _api(self) -> Api:
        return api_at(self.admin_kubeconfig)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        self.kubectl("apply", "--server-side", "--filename=-", input=yaml.safe_dump_all(objects))

    @contextmanager
    def namespace(self, name: str | None = None, labels: Mapping[str, str] = RESTRICTED) -> Iterator[str]:
        """A namespace for one test, deleted afterwards; its default labels set Pod Security `restricted`."""
        made = name or f"test-{secrets.token_hex(4)}"
        metadata = {"name": made, "labels": dict(labels)}
        with self._made({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, comes_again=bool(name)):
            yield made

    @contextmanager
    def openshift(self) -> Iterator[None]:
        """Add the APIs of Routes and projects, as on OpenShift; remove these APIs afterwards.

        A client may take this cluster for an OpenShift only inside the block. The controllers stay installed, so the
        second time takes only a second or two.
        """
        installation = self.provider.openshift()
        installation.show()
        try:
            yield
        finally:
            installation.hide()

    @contextmanager
    def project(self, name: str | None = None) -> Iterator[str]:
        """A namespace for one test like a project on Rahti, made without the project API; only inside `openshift()`."""
        if self._api.get("apis/apiextensions.k8s.io/v1/customresourcedefinitions/routes.route.openshift.io") is None:
            raise RuntimeError("a project needs `openshift()`")
        made = name or f"test-{secrets.token_hex(4)}"
        uid = project.free_uid(json.loads(self._api.get("api/v1/namespaces") or b"{}")["items"])
        namespace = project.namespace(made, "nobody", "csc_project: 1000123", "", uid)
        with self._made(namespace, *project.limits(made), comes_again=bool(name)):
            yield made

    @contextmanager
    def _made(self, namespace: Mapping[str, Any], *content: Mapping[str, Any], comes_again: bool) -> Iterator[None]:
        name, api = namespace["metadata"]["name"], self._api
        for item in (namespace, *content):
            api.apply(item)
        # pods need the service account and the certificate that two controllers create; after an outage of the API
        # server, controllers may retry only after half a minute
        needed = (f"{name}/serviceaccounts/default", f"{name}/configmaps/kube-root-ca.crt")
        for path in (f"api/v1/namespaces/{part}" for part in needed):
            wait_until(lambda path=path: api.get(path) is not None, f"service account of {name}", 120)
        try:
            yield
        finally:  # the test may have deleted the namespace
            api.delete(f"api/v1/namespaces/{name}/pods?gracePeriodSeconds=1")
            api.delete(f"api/v1/namespaces/{name}")
            # the namespace controller waits for five seconds first: wait for it only if the name may be used again
            if comes_again:
                wait_until(lambda: api.get(f"api/v1/namespaces/{name}") is None, f"the end of namespace {name}", 90)

    def user(
        self,
        name: str,
        namespace: str,
        *,
        role: str = "admin",
        rules: Sequence[Mapping[str, Any]] | None = None,
        seconds: float = YEAR,
    ) -> Path:
        """The kubeconfig of an ordinary user: a client certificate for `seconds`, and rights in one namespace.

        The rights are those of a ClusterRole, or those of a Role with `rules` (an empty list: no rights).
        """
        role_kind = "ClusterRole"
        if rules is not None:
            role_kind, role = "Role", f"of-{name}"
            self._api.apply(_rbac("Role", role, namespace, rules=[dict(rule) for rule in rules]))
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}
        granted = {"apiGroup": "rbac.authorization.k8s.io", "kind": role_kind, "name": role}
        self._api.apply(_rbac("RoleBinding", f"of-{name}", namespace, roleRef=granted, subjects=[subject]))
        file = self.provider.users / f"{namespace}-{name}.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(self.provider.user_kubeconfig(name, namespace, seconds))
        return file

    def in_network(self, command: list[str]) -> list[str]:
        """The command line that runs a host command in a network where `https://x.apps.test/` leads to the cluster."""
        return self.provider.in_network(command)

    def in_node(self, command: list[str]) -> list[str]:
        """The command line that runs a command inside the node's namespaces."""
        return self.provider.in_node(command)

    def kill(self, service: str, signal: int = signals.SIGKILL) -> None:
        """Send a signal to a service of the node: apiserver, etcd, kubelet, containerd, registry, policies, ..."""
        self.provider.kill(service, signal)

    def start(self, service: str) -> None:
        self.provider.start(service)

    def registry_fault(self, fault: dict[str, Any] | None) -> None:
        """Set a fault: {"status": 429} or {"bytes_per_second": N}, optionally with "name": "ghcr.io/..."; None: end."""
        self.provider.registry_fault(fault)

    def pss_mib(self, pod: str, namespace: str) -> float:
        """Memory of a pod's processes in MiB (PSS: shared pages count proportionally)."""
        uid = self.kubectl("get", "pod", pod, f"--namespace={namespace}", "--output=jsonpath={.metadata.uid}")
        return self.provider.pss_mib(uid)

    def audit(self, user: str | None = None, since: datetime | None = None) -> list[dict[str, Any]]:
        """The API server's audit events of a user since an instant; `requestURI` shows whether it was a dry run."""
        name = (user or "").encode()
        with self.audit_log.open("rb") as log:
            # the log has many megabytes: search for the name before parsing a line; an incomplete line is still being
            # written
            events = [json.loads(line) for line in log if name in line and line.endswith(b"\n")]
        return [
            event
            for event in events
            if (user is None or event["user"].get("username") == user)
            and (since is None or datetime.fromisoformat(event["requestReceivedTimestamp"]) >= since)
        ]


def _rbac(kind: str, name: str, namespace: str, **content: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, **content}
