"""Reads and writes objects: get, list, create, replace, server-side apply, delete. Only 404 means "absent"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from deployer.core.errors import Conflict
from deployer.core.manifests.manifest import KINDS, Kind, Manifest
from deployer.kube.refusals import Call, FieldsOwned, Vanished
from deployer.kube.session import Session

FIELD_MANAGER: Final = "mlflow-deployer"
_APPLY_TYPE: Final = "application/apply-patch+yaml"  # JSON is YAML
_PAGE: Final = 500
_ATTEMPTS: Final = 3


def call(session: Session, verb: str, kind: Kind, name: str = "") -> Call:
    """Return a call as messages name it."""
    return Call(verb, kind.resource, name, session.namespace)


def get(session: Session, kind: Kind, name: str) -> Manifest | None:
    """Return an object, or None if it does not exist."""
    try:
        return session.request("GET", kind.path(session.namespace, name), call(session, "get", kind, name))
    except Vanished:
        return None


def listed(session: Session, kind: Kind, *, labels: str = "", fields: str = "") -> tuple[list[Manifest], str]:
    """Return all objects that match the selectors, and the resourceVersion from which a watch continues."""
    items: list[Manifest] = []
    query = {"limit": str(_PAGE)}
    query |= {"labelSelector": labels} if labels else {}
    query |= {"fieldSelector": fields} if fields else {}
    while True:
        page = session.request("GET", kind.path(session.namespace), call(session, "list", kind), query=query)
        items += page["items"]
        metadata = page["metadata"]
        if not metadata.get("continue"):
            return items, str(metadata["resourceVersion"])
        query["continue"] = metadata["continue"]


def create(session: Session, manifest: Manifest) -> Manifest | None:
    """Create an object. Return None if an object of that name exists."""
    kind, name = KINDS[manifest["kind"]], manifest["metadata"]["name"]
    attempt = 1
    while True:
        try:
            return session.request(
                "POST",
                kind.path(session.namespace),
                call(session, "create", kind, name),
                query={"fieldManager": FIELD_MANAGER},
                body=manifest,
            )
        except Conflict:
            if get(session, kind, name) is not None:
                return None
            if attempt == _ATTEMPTS:
                raise  # another conflict, such as a namespace that is being deleted
        attempt += 1  # deleted in between, like a released Lease


def replace(session: Session, manifest: Manifest) -> Manifest:
    """Replace an object that still has the resourceVersion of `manifest`.

    Raises:
        Conflict: the object was changed or deleted since.
    """
    kind, name = KINDS[manifest["kind"]], manifest["metadata"]["name"]
    try:
        return session.request(
            "PUT",
            kind.path(session.namespace, name),
            call(session, "update", kind, name),
            query={"fieldManager": FIELD_MANAGER},
            body=manifest,
        )
    except Vanished as error:
        raise Conflict(f"{kind.name} {name!r} was deleted in the meantime", hint="try again") from error


def apply(session: Session, manifest: Manifest, *, dry_run: bool = False, force: bool = False) -> Manifest:
    """Apply an object on the server side. Return the object after the apply, or with `dry_run` as it would be.

    Raises:
        Conflict: another field manager owns a field that would change, and `force` is not given.
    """
    try:
        return _apply(session, manifest, dry_run=dry_run, force=force)
    except FieldsOwned as error:
        if error.managers != {FIELD_MANAGER}:
            raise
        return _apply(session, manifest, dry_run=dry_run, force=True)  # only fields that `scale` has set


def _apply(session: Session, manifest: Manifest, *, dry_run: bool, force: bool) -> Manifest:
    kind, name = KINDS[manifest["kind"]], manifest["metadata"]["name"]
    query = {"fieldManager": FIELD_MANAGER, "force": "true" if force else "false"}
    if dry_run:
        query["dryRun"] = "All"
    return session.request(
        "PATCH",
        kind.path(session.namespace, name),
        call(session, "patch", kind, name),
        query=query,
        body=manifest,
        content_type=_APPLY_TYPE,
    )


def scale(session: Session, kind: Kind, name: str, replicas: int) -> None:
    """Set the number of replicas of an object, and nothing else."""
    session.request(
        "PATCH",
        f"{kind.path(session.namespace, name)}/scale",
        Call("patch", f"{kind.plural}.{kind.group}/scale", name, session.namespace),
        query={"fieldManager": FIELD_MANAGER},
        body={"spec": {"replicas": replicas}},
        content_type="application/merge-patch+json",
    )


def remove_annotations(session: Session, live: Manifest, keys: Iterable[str]) -> None:
    """Remove annotations of an object, also those of other field managers.

    Raises:
        Conflict: the object was changed since `live` was read.
    """
    kind, metadata = KINDS[live["kind"]], live["metadata"]
    removed = {"resourceVersion": metadata["resourceVersion"], "annotations": dict.fromkeys(keys)}
    session.request(
        "PATCH",
        kind.path(session.namespace, metadata["name"]),
        call(session, "patch", kind, metadata["name"]),
        query={"fieldManager": FIELD_MANAGER},
        body={"metadata": removed},
        content_type="application/merge-patch+json",
    )


def annotate(session: Session, live: Manifest, key: str, value: str) -> None:
    """Set an annotation of an object, and nothing else."""
    kind, name = KINDS[live["kind"]], live["metadata"]["name"]
    session.request(
        "PATCH",
        kind.path(session.namespace, name),
        call(session, "patch", kind, name),
        query={"fieldManager": FIELD_MANAGER},
        body={"metadata": {"annotations": {key: value}}},
        content_type="application/merge-patch+json",
    )


def delete(session: Session, live: Manifest, *, exactly: bool = False) -> None:
    """Delete exactly the object `live` (by uid) and its dependents. Do nothing if it no longer exists.

    With `exactly`, delete it only if nobody has changed it since `live` was read.

    Raises:
        Conflict: somebody has changed it, and `exactly` is given.
    """
    kind, name = KINDS[live["kind"]], live["metadata"]["name"]
    parts = ("uid", "resourceVersion") if exactly else ("uid",)
    options: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {part: live["metadata"][part] for part in parts},
        "propagationPolicy": "Background",
    }
    try:
        session.request("DELETE", kind.path(session.namespace, name), call(session, "delete", kind, name), body=options)
    except Vanished:
        return
    except Conflict:
        now = get(session, kind, name)
        if now is not None and now["metadata"]["uid"] == live["metadata"]["uid"]:
            raise


def events_about(session: Session, name: str) -> Iterator[Manifest]:
    """Yield the events in the namespace about objects of that name."""
    items, _ = listed(session, KINDS["Event"], fields=f"involvedObject.name={name}")
    yield from items
