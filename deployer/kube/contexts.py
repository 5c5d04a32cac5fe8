"""Reads the contexts in kubeconfig files without the Kubernetes client: enough to choose the target of a command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from deployer.core.errors import UsageError
from deployer.core.remedies import Remedy

_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class Named:
    """A context: its cluster and its namespace."""

    cluster: str
    namespace: str


@dataclass(frozen=True)
class Contexts:
    """All contexts by name, and the name of the current one."""

    contexts: Mapping[str, Named]
    current: str | None


def kubeconfigs() -> list[Path]:
    """Return the kubeconfig files in kubectl's order: `$KUBECONFIG`, else `~/.kube/config`."""
    listed = [Path(part).expanduser() for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return listed or [Path(os.path.expanduser("~/.kube/config"))]


def in_a_pod() -> bool:
    """Tell whether this process runs in a pod with a service account token."""
    return (SERVICE_ACCOUNT / "token").exists()


def read_contexts() -> Contexts:
    """Return the contexts of all kubeconfig files. If several files define the same name, the first one counts.

    Raises:
        UsageError: a file cannot be read, or is not a kubeconfig.
    """
    contexts: dict[str, Named] = {}
    current: str | None = None
    for path in kubeconfigs():
        try:
            data = yaml.load(path.read_bytes(), Loader=_Loader) or {}  # noqa: S506  # a SafeLoader: plain data only
            for item in data.get("contexts") or ():
                named = item.get("context") or {}
                contexts.setdefault(
                    str(item["name"]), Named(str(named.get("cluster", "")), str(named.get("namespace") or "default"))
                )
            current = current or str(data.get("current-context") or "") or None
        except FileNotFoundError:
            continue
        except OSError as error:
            problem = f"the kubeconfig {path} cannot be read: {error.strerror}"
            raise UsageError(problem, hint=Remedy.MAKE_READABLE) from None
        except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError):
            problem = f"the kubeconfig {path} is not YAML of the right form"
            raise UsageError(problem, hint=Remedy.MEND_KUBECONFIG) from None
    return Contexts(contexts, current)
