"""The labels of a server's objects."""

from __future__ import annotations

from deployer.core.manifests.manifest import Manifest
from deployer.core.stack.components import MANAGED_BY


def own_labels(name: str) -> dict[str, str]:
    """Return the labels that identify a server's objects."""
    return {"app.kubernetes.io/instance": name, "app.kubernetes.io/managed-by": MANAGED_BY}


def selector(name: str) -> str:
    """Return the label selector of a server's objects."""
    return ",".join(f"{key}={value}" for key, value in own_labels(name).items())


def is_own(live: Manifest, name: str) -> bool:
    """Tell whether an object carries the labels of server `name`."""
    return own_labels(name).items() <= (live["metadata"].get("labels") or {}).items()


def all_labels(name: str) -> dict[str, str]:
    """Return the labels of the objects that are not rendered: record, secrets and Lease."""
    return {"app.kubernetes.io/name": "mlflow", **own_labels(name)}
