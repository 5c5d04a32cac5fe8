"""Kubernetes objects as data, and a table of the kinds that deployer works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

Manifest = dict[str, Any]
"""One object in the form of the API: apiVersion, kind, metadata and the rest."""


@dataclass(frozen=True)
class Kind:
    """A kind of object: name, apiVersion (`group/version`, without a group for the core group) and plural."""

    name: str
    api_version: str
    plural: str
    namespaced: bool = True

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def resource(self) -> str:
        """The resource as `kubectl auth can-i` takes it, e.g. `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str, name: str = "") -> str:
        """Return the API path of the collection, or of the object `name` in it."""
        prefix = f"/apis/{self.api_version}" if self.group else f"/api/{self.api_version}"
        inside = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{prefix}{inside}/{self.plural}" + (f"/{name}" if name else "")


SERVICE_ACCOUNT: Final = Kind("ServiceAccount", "v1", "serviceaccounts")
PVC: Final = Kind("PersistentVolumeClaim", "v1", "persistentvolumeclaims")
CONFIG_MAP: Final = Kind("ConfigMap", "v1", "configmaps")
SECRET: Final = Kind("Secret", "v1", "secrets")
SERVICE: Final = Kind("Service", "v1", "services")
POD: Final = Kind("Pod", "v1", "pods")
EVENT: Final = Kind("Event", "v1", "events")
NETWORK_POLICY: Final = Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies")
INGRESS: Final = Kind("Ingress", "networking.k8s.io/v1", "ingresses")
HTTP_ROUTE: Final = Kind("HTTPRoute", "gateway.networking.k8s.io/v1", "httproutes")
ROUTE: Final = Kind("Route", "route.openshift.io/v1", "routes")
DEPLOYMENT: Final = Kind("Deployment", "apps/v1", "deployments")
STATEFUL_SET: Final = Kind("StatefulSet", "apps/v1", "statefulsets")
REPLICA_SET: Final = Kind("ReplicaSet", "apps/v1", "replicasets")
LEASE: Final = Kind("Lease", "coordination.k8s.io/v1", "leases")

KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            SERVICE_ACCOUNT, PVC, CONFIG_MAP, SECRET, SERVICE, POD, EVENT, NETWORK_POLICY, INGRESS, HTTP_ROUTE, ROUTE,
            DEPLOYMENT, STATEFUL_SET, REPLICA_SET, LEASE,
        )
    }
)  # fmt: skip


@dataclass(frozen=True, order=True)
class Ref:
    """An object in the server's namespace, by kind and name."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


def ref_of(manifest: Mapping[str, Any]) -> Ref:
    """Return the kind and name of an object."""
    return Ref(manifest["kind"], manifest["metadata"]["name"])


def ref_from(text: str) -> Ref:
    """Return the Ref that the text `Kind/name` stands for."""
    kind, _, name = text.partition("/")
    return Ref(kind, name)
