"""Applies a user's patches to rendered manifests. Lists of a pod merge as in Kubernetes' strategic merge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

# The fields that identify the items of a list, from the `patchMergeKey` tags of k8s.io/api. Any other list is replaced
# as a whole, as in kubectl.
_MERGE_KEYS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "containers": ("name",),
        "initContainers": ("name",),
        "env": ("name",),
        "volumes": ("name",),
        "imagePullSecrets": ("name",),
        "volumeMounts": ("mountPath",),
        "hostAliases": ("ip",),
        "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    }
)
# `ports` has another key in each object: containerPort in a container, port in a Service
_PORT_KEYS: Final = ("containerPort", "port")
# a patch may not change these: deployer finds its objects by them
_IDENTITY: Final = ("apiVersion", "kind", "status")
_NAMES: Final = ("name", "namespace")
# a prefix of 253 characters, a slash and a name of 63; YAML allows 1024, including quotes and escapes
_LONGEST_KEY: Final = 317
_ALLOW_LISTS: Final = ("/ip_allowlist", "/ip_whitelist")
_OWN_LABELS: Final = ("app.kubernetes.io/", "mlflow-deployer.github.io/")


def problems(patch: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a patch.

    A patch may not change the identity of its object, or contain values that manifests or this merge cannot represent.
    """
    metadata = patch.get("metadata", {})
    labels, annotations = (
        metadata.get(key, {}) if isinstance(metadata, Mapping) else {} for key in ("labels", "annotations")
    )
    if not all(isinstance(part, Mapping) for part in (metadata, labels, annotations)):
        yield "metadata, its labels and its annotations must be mappings"
        return
    yield from allow_lists(annotations)
    fixed = [
        *(key for key in _IDENTITY if key in patch),
        *(f"metadata.{key}" for key in _NAMES if key in metadata),
        *(f"metadata.labels.{key}" for key in labels if key.startswith(_OWN_LABELS)),
    ]
    yield from (f"{path} is set by deployer itself" for path in fixed)
    yield from dict.fromkeys(_unusual(patch, listed=False))


def allow_lists(annotations: Mapping[str, Any]) -> Iterator[str]:
    """Yield a problem for each annotation that lists the networks that may connect; `allowFrom` sets that list."""
    for key in annotations:
        if key.endswith(_ALLOW_LISTS):
            yield f"{key!r}: say it as allowFrom, a mistake in it lets everybody in"


def _unusual(value: Any, *, listed: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if len(key) > _LONGEST_KEY or not key.isprintable():
                yield f"{key[:20]!r} (of {len(key)} characters) cannot be a key"
            if key.startswith("$") and not (listed and (key, inner) == ("$patch", "delete")):
                yield f"{key}: of the directives only `$patch: delete` is known, in an item of a list"
            yield from _unusual(inner, listed=False)
    elif isinstance(value, list):
        for item in value:
            yield from _unusual(item, listed=True)
    elif isinstance(value, float):
        yield "a fraction is written differently in JSON and YAML; put it in quotes, or use a unit such as 500m"
    elif not isinstance(value, str | int | None) or (isinstance(value, str) and not value.isascii() and _lone(value)):
        yield "a value that JSON does not have, such as a date; put it in quotes"


def _lone(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def merged(base: Any, patch: Any, field: str = "") -> Any:
    """Return `base` with `patch` applied: mappings merge, null removes a key, items of known lists merge by their key.

    `field` is the name of the field that holds both values.
    """
    if isinstance(base, Mapping) and isinstance(patch, Mapping):
        result = {key: value for key, value in base.items() if key not in patch or patch[key] is not None}
        for key, value in patch.items():
            if value is not None:
                result[key] = merged(base.get(key), value, key)
        return result
    if isinstance(patch, list) and isinstance(base, list | None):
        before = base or []
        if all(isinstance(item, Mapping) for item in (*before, *patch)) and (keys := _merge_keys(field, patch)):
            return _merged_list(before, patch, keys)
    if isinstance(patch, Mapping):  # nothing to merge with, but nulls still remove keys
        return {key: merged(None, value, key) for key, value in patch.items() if value is not None}
    return patch


def _merge_keys(field: str, patch: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    if field == "ports":
        return next(((key,) for key in _PORT_KEYS if all(key in item for item in patch)), ())
    return _MERGE_KEYS.get(field, ())


def _merged_list(base: Sequence[Any], patch: Sequence[Any], keys: tuple[str, ...]) -> list[Any]:
    def identity(item: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(item.get(key) for key in keys)

    if not all(isinstance(part, str | int | None) for item in (*base, *patch) for part in identity(item)):
        return list(patch)  # an identifying value is neither text nor number; Kubernetes accepts no such item
    changes = {identity(item): item for item in patch}
    result = []
    for item in base:
        change = changes.pop(identity(item), None)
        if change is None:
            result.append(item)
        elif change.get("$patch") != "delete":
            result.append(merged(item, change))
    return [*result, *(merged(None, item) for item in changes.values() if item.get("$patch") != "delete")]
