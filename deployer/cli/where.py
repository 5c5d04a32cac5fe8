"""Decides where a command goes, and says so: a cluster where a kubeconfig names one, else this machine."""

from __future__ import annotations

import os
from pathlib import Path

from deployer.cli.options import TargetKind
from deployer.cli.progress import note
from deployer.core.errors import UsageError
from deployer.core.spec import name_problem
from deployer.targets import Target
from deployer.targets.local.store import LocalStore, state_directory
from deployer.targets.local.target import local_target


def find_target(name: str, wanted: TargetKind | None, *, quiet: bool = False) -> Target:
    """Return the target of server `name`, after saying on standard error where that is and why.

    Raises:
        UsageError: the name is not usable, or the place is not one that this release can use.
    """
    if problem := name_problem(name):
        raise UsageError(f"{name!r} cannot be a server's name: it {problem}", hint="try a name such as mlflow")
    if wanted is TargetKind.kubernetes:
        raise _no_cluster_yet("--target kubernetes")
    if wanted is TargetKind.local:
        why = "as --target says"
    elif LocalStore(state_directory(), name).known():
        why = f"{name!r} is known here"
    elif context := _current_context():
        raise _no_cluster_yet(f"the kubeconfig's current context is {context!r}")
    else:
        why = "no kubeconfig names a current context"
    if not quiet:
        note(f"Target: this machine ({why})")
    return local_target(name, lambda holder: note(f"waiting for {holder}"))


def _no_cluster_yet(reason: str) -> UsageError:
    hint = "add --target local for a server on this machine, or use `deployer render` for manifests"
    return UsageError(f"this release cannot use a cluster yet ({reason})", hint=hint)


def _current_context() -> str | None:
    """Return the current context of the kubeconfig files, as kubectl finds them; None without one."""
    files = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    for path in files or [Path.home() / ".kube" / "config"]:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            hint = "make it readable, or add --target local"
            raise UsageError(f"the kubeconfig {path} cannot be read: {error.strerror}", hint=hint) from None
        import yaml

        try:
            data = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError):
            raise UsageError(f"the kubeconfig {path} is not YAML", hint="mend it, or add --target local") from None
        if isinstance(data, dict) and data.get("current-context"):
            return str(data["current-context"])
    return None
