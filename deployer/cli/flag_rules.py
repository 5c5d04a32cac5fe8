"""The rules for flags that belong together, and errors that name a flag instead of a field of the spec."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from deployer.cli.flags import ALONE, NAMES
from deployer.core.errors import InvalidSpec, Problem, UsageError, one_line
from deployer.core.versions import DEFAULT_MLFLOW

# the kind of exposure that a flag belongs to, and the flag that selects it
_BELONGS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "spec.exposure.ingressClass": ("ingress", "an Ingress: --expose ingress"),
        "spec.exposure.tlsSecret": ("ingress", "an Ingress: --expose ingress"),
        "spec.exposure.gateway": ("gateway", "a Gateway: --expose gateway"),
        "spec.exposure.allowFrom": ("route", "a Route: --expose route"),
        "spec.exposure.allowEveryone": ("route", "a Route: --expose route"),
    }
)
_OF_BUCKET: Final = tuple(f"spec.artifacts.{key}" for key in ("endpoint", "region", "prefix", "transfer"))


def shown(path: str, value: object) -> str:
    """Return a flag with its value as typed; only the flag if it has no value or the value may contain a password."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    if path in ALONE or path not in NAMES or "@" in text:
        return NAMES.get(path, path)
    return f"{NAMES[path]} {one_line(text) or repr(text)}"


def implied_exposure(flags: Mapping[str, Any]) -> str | None:
    """Return the kind of exposure from --expose, else the kind that other flags belong to; None without any."""
    if (wanted := flags.get("spec.exposure.type")) is not None:
        return str(wanted)
    # a Gateway first, because it always needs a flag
    order = ("gateway", "ingress", "route")
    kinds = {kind for path, (kind, _) in _BELONGS.items() if flags.get(path) and not path.endswith("allowEveryone")}
    return next((kind for kind in order if kind in kinds), None)


def require_cluster(flags: Mapping[str, Any]) -> None:
    """Check that no flag is about a public address, which servers of this machine do not have.

    Raises:
        UsageError: such a flag was given.
    """
    for path, value in flags.items():
        if value is not None and path.startswith("spec.exposure."):
            raise UsageError(
                f"{shown(path, value)} needs a cluster, and this server runs on this machine",
                hint="leave it out, or add --target kubernetes",
            )


def require_fitting(flags: Mapping[str, Any], merged: Mapping[str, Any]) -> None:
    """Check that each flag comes with the flags that it needs; `merged` is the data of `spec` including the flags.

    Without this check, such mistakes would be reported as unknown keys of the spec.

    Raises:
        UsageError: a flag needs another flag.
    """
    given = {path: value for path, value in flags.items() if value is not None}
    artifacts = (merged.get("artifacts") or {}).get("type")
    if artifacts != "s3":
        for path in _OF_BUCKET:
            if path in given and not (artifacts == "objectstore" and path.endswith("transfer")):
                raise UsageError(
                    f"{shown(path, given[path])} needs a bucket, and this server keeps its artifacts on its volume",
                    hint="add --bucket NAME, or leave it out",
                )
    exposure = merged.get("exposure") or {}
    kind = exposure.get("type")
    for path, (belongs, what) in _BELONGS.items():
        if path in given and kind not in (None, belongs):
            raise UsageError(f"{shown(path, given[path])} needs {what}", hint=f"this is --expose {kind}: leave one out")
    if "spec.exposure.host" in given and kind == "none":
        raise UsageError(
            f"{shown('spec.exposure.host', given['spec.exposure.host'])} needs a public address, and --expose none "
            "gives none",
            hint="leave one of the two out",
        )
    if kind == "gateway" and not exposure.get("gateway"):
        raise UsageError("--expose gateway needs a Gateway", hint="add --gateway NAMESPACE/NAME")


def named(error: InvalidSpec, flags: Mapping[str, Any], command: str = "create") -> UsageError:
    """Return the mistakes in a spec; mistakes that come from flags have the names of the flags."""
    given = {path: value for path, value in flags.items() if value is not None}
    problems = tuple(_named(error.problems, given))
    if problems == error.problems:
        return error
    explains = f"`deployer {command} --help` explains every flag"
    if len(problems) == 1:
        version = problems[0].path.startswith(NAMES["spec.mlflow.version"])
        return UsageError(str(problems[0]), hint=f"`--mlflow-version {DEFAULT_MLFLOW}`" if version else explains)
    return InvalidSpec("the command line", problems, hint=explains)


def _named(problems: tuple[Problem, ...], given: Mapping[str, Any]) -> Iterator[Problem]:
    for problem in problems:
        path = next((path for path in given if problem.path == path or problem.path.startswith(f"{path}.")), None)
        if path is None and problem.path in ("spec.exposure", "spec.exposure.type"):
            path = next((path for path in _BELONGS if path in given), None)  # the flag that implied the kind
        yield Problem(shown(path, given[path]), problem.message) if path else problem
