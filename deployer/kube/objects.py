"""Reads and writes objects: get, list, create, replace, server-side apply, delete; 404 is the only `absent`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from deployer.core.errors import Conflict
from deployer.core.manifest import KINDS, Kind, Manifest
from deployer.kube.refusals import Call, FieldsOwned, Vanished
from deployer.kube.session import Session

FIELD_MANAGER: Final = "mlflow-deployer"
_APPLY_TYPE: Final = "application/apply-patch+yaml"  # JSON is YAML
_PAGE: Final = 500
_ATTEMPTS: Final = 3


def call(session: Session, verb: str, kind: Kind, name: str = "") -> Call:
    """Return what messages say about a call."""
    return Call(verb, kind.resource, name, session.namespace)


def get(session: Session, kind: Kind, name: str) -> Manifest | None:
    """Return an object, None when there is none."""
    try:
        return session.request("GET", kind.path(session.namespace, name), call(session, "get", kind, name))
    except Vanished:
        return None


def listed(session: Session, kind: Kind, *, labels: str = "", fields: str = "") -> tuple[list[Manifest], str]:
    """Return all objects that fit the selectors, and the resourceVersion that a watch goes on from."""
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
    """Create an object; None when one of that name is there already."""
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
                raise  # the conflict is another one: the namespace goes away, say
        attempt += 1  # it was deleted in between, as a Lease is that somebody lets go


def replace(session: Session, manifest: Manifest) -> Manifest:
    """Replace an object of the resourceVersion that `manifest` names.

    Raises:
        Conflict: it was changed or deleted since.
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
        raise Conflict(f"{kind.name} {name!r} was deleted meanwhile", hint="try again") from error


def apply(session: Session, manifest: Manifest, *, dry_run: bool = False, force: bool = False) -> Manifest:
    """Apply an object on the server's side, and return what it is, or with `dry_run` would be, afterwards.

    Raises:
        Conflict: another field manager owns a field that this would change, and `force` is not given.
    """
    try:
        return _apply(session, manifest, dry_run=dry_run, force=force)
    except FieldsOwned as error:
        if error.managers != {FIELD_MANAGER}:
            raise
        return _apply(session, manifest, dry_run=dry_run, force=True)  # only what `scale` has set


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
    """Set how many pods an object is to have, and nothing else of it."""
    session.request(
        "PATCH",
        f"{kind.path(session.namespace, name)}/scale",
        Call("patch", f"{kind.plural}.{kind.group}/scale", name, session.namespace),
        query={"fieldManager": FIELD_MANAGER},
        body={"spec": {"replicas": replicas}},
        content_type="application/merge-patch+json",
    )


def remove_annotations(session: Session, live: Manifest, keys: Iterable[str]) -> None:
    """Remove annotations of an object, whoever has written them.

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


def delete(session: Session, live: Manifest, *, exactly: bool = False) -> None:
    """Delete the very object that `live` is, and what it owns; nothing happens where it is gone.

    With `exactly` only as it was read: Conflict when somebody has changed it since.
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
    """Yield the namespace's events about an object of that name."""
    items, _ = listed(session, KINDS["Event"], fields=f"involvedObject.name={name}")
    yield from items
