"""Keeps the record of a server on a cluster, in a labelled ConfigMap of its namespace."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, Final

from deployer.core.errors import Conflict, DeployerError, Forbidden, InvalidSpec, StateError
from deployer.core.manifests.manifest import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    HTTP_ROUTE,
    KINDS,
    LEASE,
    POD,
    PVC,
    REPLICA_SET,
    ROUTE,
    SECRET,
    STATEFUL_SET,
    Kind,
    Manifest,
    Ref,
    ref_from,
)
from deployer.core.remedies import Remedy
from deployer.core.stack.record import Record, record_from
from deployer.kube import objects, rights
from deployer.kube.lease import held, held_by_another
from deployer.kube.refusals import UnknownApi
from deployer.kube.session import Session
from deployer.targets import ChangeKind, Deadline
from deployer.targets.kubernetes.labels import all_labels, is_own, selector
from deployer.targets.kubernetes.secrets import KubernetesSecrets

RECORD_LABEL: Final = "mlflow-deployer.github.io/record"
_POLL_SECONDS: Final = 0.2
_NOT_IN_INVENTORY: Final = (POD, EVENT, REPLICA_SET, LEASE, SECRET)
# Users without cluster-wide rights get 403 for an API that is not installed. A server without a StatefulSet needs no
# right to StatefulSets.
_MAY_BE_UNREADABLE: Final = (HTTP_ROUTE, ROUTE, STATEFUL_SET)
_LOCK: Final = tuple((verb, LEASE, "") for verb in ("create", "update", "delete"))
# what each change needs besides the rendered objects, which a dry run of their apply checks
_ACTIONS: Final[Mapping[ChangeKind, tuple[tuple[str, Kind, str], ...]]] = {
    "create": (*_LOCK, ("create", CONFIG_MAP, ""), ("update", CONFIG_MAP, ""), ("create", SECRET, "")),
    "update": (*_LOCK, ("update", CONFIG_MAP, "")),
    "rotate": (*_LOCK, ("update", CONFIG_MAP, ""), ("update", SECRET, "")),
    "stop": (*_LOCK, ("patch", DEPLOYMENT, "scale")),
    "delete": (*_LOCK, ("update", CONFIG_MAP, "")),
    "delete data": (*_LOCK, ("update", CONFIG_MAP, ""), ("delete", CONFIG_MAP, ""), ("delete", SECRET, "")),
}


def record_name(name: str) -> str:
    """Return the name of the ConfigMap with a server's record."""
    return f"{name}-spec"


def server_names(session: Session) -> list[str]:
    """Return the names of all servers with a record in the namespace, including deleted ones whose data is kept."""
    found, _ = objects.listed(session, CONFIG_MAP, labels=f"{RECORD_LABEL}=server")
    named = [(item["metadata"]["labels"].get("app.kubernetes.io/instance", ""), item) for item in found]
    # a copy of the ConfigMap under another name is no server
    return sorted(name for name, item in named if item["metadata"]["name"] == record_name(name))


class KubernetesStore(KubernetesSecrets):
    """The ConfigMap and Secrets of one server."""

    def load(self) -> Record | None:
        """Return the record, None without one."""
        stored = self._stored()
        return self._record(stored) if stored else None

    def save(self, record: Record) -> Record:
        """Replace the record atomically.

        Raises:
            Conflict: the version of the stored record is not `record.version`.
        """
        stored = self._stored()
        there = self._record(stored) if stored else None
        if (there.version if there else 0) != record.version:
            raise self._changed()
        saved = replace(record, version=record.version + 1)
        self._write(stored, saved, self._inventory(stored))
        return saved

    def inventory(self) -> tuple[Ref, ...]:
        """Return the references of the server's objects; each was stored before its object was created."""
        return self._inventory(self._stored())

    def remaining(self) -> tuple[Ref, ...]:
        """Return the inventory; without a record, return all objects with the server's labels."""
        stored = self._stored()
        if stored is not None:
            return self._inventory(stored)
        found: list[Ref] = []
        for kind in KINDS.values():
            if kind in _NOT_IN_INVENTORY:
                continue
            try:
                items, _ = objects.listed(self._session, kind, labels=selector(self._name))
            except (UnknownApi, Forbidden):
                if kind not in _MAY_BE_UNREADABLE:
                    raise
                continue
            found += [Ref(kind.name, item["metadata"]["name"]) for item in items]
        return tuple(found)

    def save_inventory(self, refs: Iterable[Ref]) -> None:
        """Store references to the server's objects before they are created; needs a record.

        Raises:
            Conflict: the record is gone, or was changed in the meantime.
        """
        stored = self._stored()
        if stored is None:
            raise self._changed()
        wanted = tuple(sorted(set(refs)))
        if wanted != self._inventory(stored):
            self._write(stored, self._record(stored), wanted)

    def known(self) -> bool:
        """Tell whether anything of the server exists, including the remains of an interrupted delete."""
        there = self._stored() or self._secret("admin") or self._secret("server")
        return there is not None or held_by_another(self._session, f"{self._name}-lock")

    def in_use(self) -> bool:
        """Tell whether another deployer holds the Lease, or has left one."""
        try:
            return held_by_another(self._session, f"{self._name}-lock")
        except Forbidden:
            return False  # a user who may not read Leases takes none either

    @contextmanager
    def lock(self, reason: str, deadline: Deadline, waiting: Callable[[str], None]) -> Iterator[None]:
        """Lock this server for one deployer."""
        with held(self._session, f"{self._name}-lock", all_labels(self._name), reason, lambda: deadline.left, waiting):
            yield

    def require_rights(self, change: ChangeKind) -> None:
        """Check that the user may lock the server, and store or delete what belongs to it.

        Raises:
            Forbidden: the user may not.
        """
        rights.require(self._session, _ACTIONS[change])
        if change.startswith("delete"):
            kinds = sorted({ref.kind for ref in self.remaining()} - ({PVC.name} if change == "delete" else set()))
            rights.require(self._session, [("delete", KINDS[kind], "") for kind in kinds])

    def forget(self, *, data: bool, deadline: Deadline) -> None:
        """Do nothing without `data`; with `data`, delete the volumes, the Secrets and, last, the record."""
        if not data:
            return
        claims = [(PVC, ref.name) for ref in self.remaining() if ref.kind == PVC.name]
        named = [*claims, (SECRET, f"{self._name}-admin"), (SECRET, f"{self._name}-server")]
        found = [objects.get(self._session, kind, name) for kind, name in named]
        gone = [live for live in found if live and is_own(live, self._name)]
        for live in gone:
            objects.delete(self._session, live)
        self._await_gone(gone, deadline)
        if (stored := self._stored()) is not None:
            objects.delete(self._session, stored)

    def _await_gone(self, gone: Sequence[Manifest], deadline: Deadline) -> None:
        for live in gone:
            kind, name = KINDS[live["kind"]], live["metadata"]["name"]
            while (now := objects.get(self._session, kind, name)) and now["metadata"]["uid"] == live["metadata"]["uid"]:
                deadline.require(f"{kind.name} {name} is still being deleted")
                time.sleep(_POLL_SECONDS)

    def _stored(self) -> Manifest | None:
        stored = objects.get(self._session, CONFIG_MAP, record_name(self._name))
        if stored is not None and RECORD_LABEL not in (stored["metadata"].get("labels") or {}):
            raise Conflict(
                f"ConfigMap {record_name(self._name)!r} exists already and is not deployer's",
                hint="choose another name for the server, or remove that ConfigMap",
            )
        return stored

    def require_host(self, host: str) -> None:
        """Check that no other server in the namespace has this public host: it would receive this server's password.

        Raises:
            Conflict: another server has the host.
        """
        found, _ = objects.listed(self._session, CONFIG_MAP, labels=f"{RECORD_LABEL}=server")
        for item in found:
            owner = item["metadata"]["labels"].get("app.kubernetes.io/instance")
            with suppress(InvalidSpec, KeyError, TypeError, ValueError, AttributeError):
                assigned = json.loads(item["data"]["status"])["assigned"]
                if owner != self._name and assigned["host"] == host:
                    raise Conflict(f"host {host!r} is that of server {owner!r}", hint=Remedy.CHOOSE_OTHER_HOST)

    def _record(self, stored: Manifest) -> Record:
        source = f"ConfigMap {self._session.namespace}/{record_name(self._name)}"
        try:
            data = {"spec": json.loads(stored["data"]["spec"]), **json.loads(stored["data"]["status"])}
            return record_from(data, source)
        except (InvalidSpec, KeyError, TypeError, ValueError, AttributeError) as error:
            detail = f": {error.message}" if isinstance(error, DeployerError) else ""
            raise StateError(f"{source} is not a record of this release{detail}") from error

    def _inventory(self, stored: Manifest | None) -> tuple[Ref, ...]:
        text: str = ((stored or {}).get("data") or {}).get("inventory", "")
        refs = tuple(ref_from(line) for line in text.split())
        if unknown := sorted(str(ref) for ref in refs if ref.kind not in KINDS):
            raise StateError(
                f"ConfigMap {record_name(self._name)} names objects that this release does not know: {unknown}",
                hint="use the release that made the server",
            )
        return refs

    def _write(self, stored: Manifest | None, record: Record, inventory: Iterable[Ref]) -> None:
        document = record.document()
        spec = document.pop("spec")
        wanted: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": CONFIG_MAP.name,
            "metadata": {
                "name": record_name(self._name),
                "namespace": self._session.namespace,
                "labels": {**all_labels(self._name), RECORD_LABEL: "server"},
            },
            "data": {
                "spec": json.dumps(spec, indent=2) + "\n",
                "status": json.dumps(document, indent=2) + "\n",
                "inventory": "".join(f"{ref}\n" for ref in inventory),
            },
        }
        if stored is not None:  # keep metadata that others have added
            kept = {key: value for key, value in stored["metadata"].items() if key != "managedFields"}
            wanted["metadata"] = {**kept, "labels": {**(kept.get("labels") or {}), **wanted["metadata"]["labels"]}}
        try:
            done = objects.create(self._session, wanted) if stored is None else objects.replace(self._session, wanted)
        except Conflict:
            done = None
        # the conflict may be with this very write: a request whose response was lost is sent again
        if done is None and (self._stored() or {}).get("data") != wanted["data"]:
            raise self._changed()

    def _changed(self) -> Conflict:
        return Conflict(f"the record of {self._name} was changed in the meantime", hint="try again")
