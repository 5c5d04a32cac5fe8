"""A table of spec fields that have no effect on a platform, or together with other fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from deployer.core.spec import networks
from deployer.core.spec.exposure import RouteExposure
from deployer.core.spec.platform import Platform
from deployer.core.spec.schema import ExternalDatabase, S3Artifacts, ServerSpec, Spec

_Condition = Callable[[ServerSpec, Platform], bool]


@dataclass(frozen=True)
class Idle:
    """A field without effect: its path in a spec file, and the reason, as the end of a sentence."""

    path: str
    reason: str


def _on_this_machine(_: ServerSpec, platform: Platform) -> bool:
    return not platform.pods


def _on_a_cluster(_: ServerSpec, platform: Platform) -> bool:
    return platform.pods


def _without_volume(wanted: ServerSpec, platform: Platform) -> bool:
    elsewhere = isinstance(wanted.database, ExternalDatabase) and isinstance(wanted.artifacts, S3Artifacts)
    return platform.pods and elsewhere


def _without_proxy(wanted: ServerSpec, platform: Platform) -> bool:
    # a local server inherits this machine's proxy settings, and a patch may set those of a pod
    return platform.pods and not (wanted.proxy.http or wanted.proxy.https or wanted.patches)


def _narrow_list(wanted: ServerSpec, _: Platform) -> bool:
    exposure = wanted.exposure
    if not isinstance(exposure, RouteExposure) or not exposure.allow_from:
        return False
    return networks.everyone(exposure.allow_from) is None


_CLUSTER: Final = "needs a cluster, and this server runs on this machine"
_MACHINE: Final = "is for servers on this machine, and this one runs on a cluster"
_NO_VOLUME: Final = "needs a volume, and this server has none: runs are in PostgreSQL, artifacts in S3"
_RULES: Final[tuple[tuple[str, _Condition, str], ...]] = (
    *(
        (path, _on_this_machine, _CLUSTER)
        for path in (
            "metadata.labels",
            "spec.profile",
            "spec.mlflow.image",
            "spec.artifacts.scratch",
            "spec.volume.size",
            "spec.volume.storageClass",
            "spec.networkPolicy.ingressNamespace",
            "spec.pod.imagePullSecrets",
            "spec.pod.imageMirrors",
            "spec.pod.nodeSelector",
            "spec.patches",
        )
    ),
    *((f"spec.local.{key}", _on_a_cluster, _MACHINE) for key in ("port", "host", "python")),
    *((f"spec.volume.{key}", _without_volume, _NO_VOLUME) for key in ("size", "storageClass")),
    ("spec.proxy.noProxy", _without_proxy, "needs a proxy (spec.proxy.http or spec.proxy.https), and there is none"),
    (
        "spec.exposure.allowEveryone",
        _narrow_list,
        "contradicts spec.exposure.allowFrom, which admits some networks only",
    ),
)


def idle(spec: Spec, platform: Platform) -> tuple[Idle, ...]:
    """Return every field that has no effect on `platform` and does not have its default value.

    `require_supported` handles fields that a platform refuses, such as an exposure that it does not have.
    """
    return tuple(_idle(spec, platform))


def idle_anyway(spec: Spec, platform: Platform, path: str) -> Idle | None:
    """Return the field at `path` if it has no effect with any value, its default included; otherwise None."""
    found = (Idle(path, reason) for rule, applies, reason in _RULES if rule == path and applies(spec.spec, platform))
    return next(found, None)


def _idle(spec: Spec, platform: Platform) -> Iterator[Idle]:
    for path, applies, reason in _RULES:
        if applies(spec.spec, platform) and _is_set(spec, path):
            yield Idle(path, reason)


def _is_set(spec: Spec, path: str) -> bool:
    part: Any = spec
    *parents, last = path.split(".")
    for key in parents:
        part = _value(part, key)
    if not isinstance(part, BaseModel):
        return False
    field = next((each for each in type(part).model_fields.values() if each.alias == last), None)
    return field is not None and _value(part, last) != field.get_default(call_default_factory=True)


def _value(part: Any, key: str) -> Any:
    if not isinstance(part, BaseModel):
        return None
    name = next((name for name, field in type(part).model_fields.items() if key in (field.alias, name)), None)
    return getattr(part, name) if name else None
