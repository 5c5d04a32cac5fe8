"""Installs the OpenShift parts on a running cluster, and removes the APIs by which clients recognize OpenShift."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from pathlib import Path
from string import Template

import yaml

from tests.testbed import images
from tests.testbed.certificates import Authority
from tests.testbed.command import CommandFailed, run, wait_until
from tests.testbed.openshift import project

HERE = Path(__file__).parent
MANIFESTS = HERE.parent / "manifests/openshift"
# the code that runs in pods, as the ConfigMap `code`
CODE = sorted(file.name for file in HERE.glob("*.py") if file != Path(__file__))
SERVED_AS = "projects.openshift-apiserver.svc"
API_SERVICE = "v1.project.openshift.io"
# a project without users: dry-run pods in it show whether the policies are in force
PROBE = "openshift-config"


# label by which NetworkPolicies select the router
ROUTER_LABELS = {"network.openshift.io/policy-group": "ingress", "policy-group.network.openshift.io/ingress": ""}


@dataclass(frozen=True)
class Installation:
    """The OpenShift parts; `kubectl` is the admin's command, `pki` the authority's folder, `routes` the CRD's."""

    kubectl: list[str]
    pki: Path
    routes: Path
    router_address: str
    routes_domain: str

    def show(self) -> None:
        """Install what is missing, and wait until all of it works."""
        parts = [
            self._objects(),
            *(file.read_text() for file in self.routes.iterdir()),
            yaml.safe_dump(self._api_service()),
        ]
        # apply the policies for pods last: once they are in force (checked below), the earlier ones are too
        parts += [self._manifest(name) for name in ("routes", "router", "projects", "scc")]
        run(*self.kubectl, "apply", "--server-side", "--filename=-", stdin="\n---\n".join(parts))
        run(*self.kubectl, "wait", "--for=condition=Established", f"--filename={self.routes}", "--timeout=30s")
        for deployment in ("openshift-ingress/router-default", "openshift-apiserver/projects"):
            namespace, name = deployment.split("/")
            # also waits for new pods after a change of the code, which `wait` would miss
            run(*self.kubectl, "rollout", "status", f"deployment/{name}", f"--namespace={namespace}", "--timeout=60s")
        run(*self.kubectl, "wait", "--for=condition=Available", f"apiservice/{API_SERVICE}", "--timeout=30s")
        wait_until(self._policies_in_force, "the policies of pods and Routes", 30, pause=0.2)

    def hide(self) -> None:
        """Remove the two API groups, and with them all Routes; the router and the projects' server stay installed."""
        run(*self.kubectl, "delete", "--ignore-not-found", f"apiservice/{API_SERVICE}")
        run(*self.kubectl, "delete", "--ignore-not-found", f"--filename={self.routes}")

    def _manifest(self, name: str) -> str:
        return Template((MANIFESTS / f"{name}.yaml").read_text()).substitute(
            code=hashlib.sha256(repr(_code()).encode()).hexdigest()[:16],
            base_image=images.BASE,
            router_image=images.ROUTER,
            router_address=self.router_address,
            routes_domain=self.routes_domain,
        )

    def _objects(self) -> str:
        """Namespaces, keys and code."""
        ingress, apiserver = "openshift-ingress", "openshift-apiserver"
        pair = self.pki / f"{SERVED_AS}.crt", self.pki / f"{SERVED_AS}.key"
        if not pair[0].exists():
            Authority(self.pki).issue(SERVED_AS, f"/CN={SERVED_AS}", (f"DNS:{SERVED_AS}",))
        # HAProxy finds a key by its certificate's name
        wildcard = {"wildcard.pem": self.pki / "routes.crt", "wildcard.pem.key": self.pki / "routes.key"}
        serving = {"tls.crt": pair[0], "tls.key": pair[1]}
        probe = project.namespace(PROBE, "", "csc_project: 0", "", project.FIRST_UID - project.UIDS)
        return yaml.safe_dump_all(
            [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": apiserver}},
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ingress, "labels": ROUTER_LABELS}},
                probe,
                *(_named("ConfigMap", "code", name, data=_code()) for name in (ingress, apiserver)),
                _named("Secret", "wildcard", ingress, data={key: _base64(file) for key, file in wildcard.items()}),
                _named("Secret", "serving", apiserver, data={key: _base64(file) for key, file in serving.items()}),
            ]
        )

    def _api_service(self) -> dict[str, object]:
        service, namespace, _ = SERVED_AS.split(".")
        version, _, group = API_SERVICE.partition(".")
        spec = {
            "group": group,
            "version": version,
            "groupPriorityMinimum": 9900,
            "versionPriority": 15,
            "caBundle": _base64(self.pki / "ca.crt"),
            "service": {"name": service, "namespace": namespace},
        }
        kind = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": API_SERVICE}}
        return {**kind, "spec": spec}

    def _policies_in_force(self) -> bool:
        """Tell whether the mutating and the validating policies are in force; this takes a second or two."""
        try:
            self._try_pod({})
            host = self._try({"apiVersion": "route.openshift.io/v1", "kind": "Route", "spec": {"to": {"name": "a"}}})
        except CommandFailed:
            return False
        try:
            self._try_pod({"runAsUser": 1})
        except CommandFailed:
            return self.routes_domain in host
        return False

    def _try_pod(self, security: dict[str, object]) -> None:
        container = {"name": "a", "image": images.BASE}
        spec = {"containers": [container], "securityContext": security, "serviceAccountName": "default"}
        self._try({"apiVersion": "v1", "kind": "Pod", "spec": spec})

    def _try(self, item: dict[str, object]) -> str:
        named = {**item, "metadata": {"name": "a", "namespace": PROBE}}
        tried = ("create", "--dry-run=server", "--output=yaml", "--filename=-")
        return run(*self.kubectl, *tried, stdin=yaml.safe_dump(named))


def _named(kind: str, name: str, namespace: str, **content: object) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}, **content}


def _code() -> dict[str, str]:
    return {name: (HERE / name).read_text() for name in CODE}


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
