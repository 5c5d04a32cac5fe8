"""Changes that a person lays over drawn manifests: Kubernetes' strategic merge, for the lists that pods are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

# The fields that identify an item of a list, from the `patchMergeKey` tags of k8s.io/api; lists not named here are
# replaced whole, as kubectl does.
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
# `ports` is told apart by where it stands: a container's by containerPort, a Service's by port
_PORT_KEYS: Final = ("containerPort", "port")


def merged(base: Any, patch: Any, field: str = "") -> Any:
    """Return `base` with `patch` laid over it: mappings merge, null removes, listed items merge by their key.

    `field` is the name of the list or mapping that both are the value of.
    """
    if isinstance(base, Mapping) and isinstance(patch, Mapping):
        result = {key: value for key, value in base.items() if patch.get(key, value) is not None}
        for key, value in patch.items():
            if value is not None:
                result[key] = merged(base.get(key), value, key)
        return result
    if isinstance(base, Sequence) and isinstance(patch, Sequence) and not isinstance(patch, str):
        keys = _merge_keys(field, patch)
        if keys and all(isinstance(item, Mapping) for item in (*base, *patch)):
            return _merged_list(base, patch, keys)
    if isinstance(patch, Mapping):  # nothing below it to merge with, but nulls still mean absent
        return {key: merged(None, value, key) for key, value in patch.items() if value is not None}
    return patch


def _merge_keys(field: str, patch: Sequence[Any]) -> tuple[str, ...]:
    if field == "ports":
        return next(((key,) for key in _PORT_KEYS if all(key in item for item in patch)), ())
    return _MERGE_KEYS.get(field, ())


def _merged_list(base: Sequence[Any], patch: Sequence[Any], keys: tuple[str, ...]) -> list[Any]:
    def identity(item: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(item.get(key) for key in keys)

    changes = {identity(item): item for item in patch}
    result = []
    for item in base:
        change = changes.pop(identity(item), None)
        if change is None:
            result.append(item)
        elif change.get("$patch") != "delete":
            result.append(merged(item, change))
    return [*result, *(merged(None, item) for item in changes.values() if item.get("$patch") != "delete")]
