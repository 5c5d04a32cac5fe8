"""Differences between two specs, or between a live and a wanted object; values of Secrets are masked in each Change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from deployer.core.errors import one_line
from deployer.core.spec.schema import Spec

_LONGEST: Final = 200
# metadata that the API server maintains, or that others may write without changing the wanted state
_NOT_COMPARED: Final = frozenset(
    {"managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink"}
)
# the field manager of deployer's own writes
_OURS: Final = "mlflow-deployer"
# field managers of the control plane, such as kube-controller-manager and the kubelet; no user asked for their writes
_CONTROL_PLANE: Final = ("kube-", "kubelet", "cloud-controller-manager", "csi-", "external-")
_ASKED_FOR: Final = ("spec", "data", "stringData")
_RESTARTED: Final = ".annotations.kubectl.kubernetes.io/restartedAt"
_ITEM_NAMES: Final = ("name", "mountPath", "key", "host")  # they identify the items of a list


@dataclass(frozen=True)
class Change:
    """A change of one field: its path, and its value before and after (None: not set)."""

    path: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{one_line(self.path)}: {_shown(self.before)} -> {_shown(self.after)}"


def spec_changes(before: Spec, after: Spec) -> tuple[Change, ...]:
    """Return every field that differs. A spec holds no secrets, so no value is masked."""
    return tuple(_differences("", before.document(), after.document()))


def object_changes(ref: object, before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return every field of a Kubernetes object that differs, except its status and what the API server maintains.

    Both objects must have the API server's form, with all defaults. Values of a Secret are masked.
    """
    changes = _differences("", _compared(before), _compared(after))
    secret = before.get("kind") == "Secret"
    return tuple(
        Change(f"{ref} {change.path}", *(("***", "***") if secret else (change.before, change.after)))
        for change in changes
    )


def foreign_changes(ref: object, live: Mapping[str, Any]) -> tuple[Change, ...]:
    """Return the fields of a Kubernetes object that only other field managers own, according to `managedFields`.

    An apply leaves these fields alone, so a comparison with its dry run does not show them. Fields of the control plane
    are left out, and so is the annotation that `kubectl rollout restart` sets.
    """
    fields: dict[str, set[str]] = {}
    for entry in live["metadata"].get("managedFields") or ():
        manager = str(entry.get("manager", ""))
        if not entry.get("subresource") and not manager.startswith(_CONTROL_PLANE):
            for path in _owned("", {key: entry.get("fieldsV1", {}).get(f"f:{key}", {}) for key in _ASKED_FOR}):
                fields.setdefault(path, set()).add(manager)
    return tuple(
        Change(f"{ref} {path}", f"set by {', '.join(sorted(managers))}", None)
        for path, managers in sorted(fields.items())
        if _OURS not in managers
    )


def is_fixed(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a Route differs in a part that ordinary users cannot change: its host or its certificate.

    A host that deployer applied and that is no longer wanted also counts. Source: openshift/library-go,
    pkg/route/routeapihelpers and hostassignment.
    """
    if live.get("kind") != "Route":
        return False
    now, then = live["spec"], wanted["spec"]
    certificates = ("certificate", "key", "caCertificate", "externalCertificate")
    if any((now.get("tls") or {}).get(key) != (then.get("tls") or {}).get(key) for key in certificates):
        return True
    if then.get("host"):
        return bool(now.get("host") != then["host"])
    return any(
        entry.get("manager") == _OURS and entry.get("operation") == "Apply" and "f:host" in entry["fieldsV1"]["f:spec"]
        for entry in live["metadata"].get("managedFields") or ()
    )


def _owned(path: str, fields: Mapping[str, Any]) -> Iterator[str]:
    """Yield the paths of owned fields. In `fieldsV1`, `f:NAME` is a field, `k:{...}` and `v:...` items of a list."""
    for key, inner in fields.items():
        kind, _, name = key.partition(":")
        if kind == "k":
            where = f"{path}[{','.join(map(str, json.loads(name).values()))}]"
        elif kind == "v":
            where = f"{path}[{name}]"
        elif kind == "f" or not path:
            where = f"{path}.{name or key}" if path else key
        else:
            continue  # `.` is the mapping itself
        if where.endswith(_RESTARTED):
            continue
        # `.` below an item only says that the item exists; the fields of the item have entries of their own
        deeper = [*_owned(where, inner)] if inner else []
        yield from deeper or ([where] if kind in {"f", "v"} and not inner else [])


def _compared(manifest: Mapping[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in manifest["metadata"].items() if key not in _NOT_COMPARED}
    return {**{key: value for key, value in manifest.items() if key != "status"}, "metadata": metadata}


def _differences(path: str, before: Any, after: Any) -> Iterator[Change]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        found = [
            change
            for key in sorted({*before, *after})
            for change in _differences(f"{path}.{key}" if path else key, before.get(key), after.get(key))
        ]
        # a patch treats null and an absent field differently
        yield from found or ([Change(path, before, after)] if before != after else ())
    elif _named(before) and _named(after):
        one, two = _by_name(before), _by_name(after)
        for name in [*one, *(name for name in two if name not in one)]:
            yield from _differences(f"{path}[{name}]", one.get(name), two.get(name))
        if list(one) != list(two) and one == two:
            yield Change(path, list(one), list(two))
    elif before != after:
        yield Change(path, before, after)


def _named(value: Any) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        return False
    names = [_name(item) for item in value]
    return None not in names and len(set(names)) == len(names)


def _by_name(items: Sequence[Any]) -> dict[str | None, Any]:
    return {_name(item): item for item in items}


def _name(item: Any) -> str | None:
    if not isinstance(item, Mapping):
        return None
    return next((str(item[key]) for key in _ITEM_NAMES if item.get(key) is not None), None)


def _shown(value: Any) -> str:
    if value is None:
        return "(not set)"
    if isinstance(value, str) and value.count("\n") > 1:
        return f"(text of {len(value.splitlines())} lines)"
    text = one_line(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
