"""The objects of one server: reads, compares, applies and deletes them, and leaves objects of others alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from deployer.core.errors import Conflict
from deployer.core.manifests.changes import Change, is_fixed, object_changes
from deployer.core.manifests.manifest import KINDS, PVC, ROUTE, Manifest, Ref, ref_of
from deployer.core.remedies import Remedy
from deployer.core.spec.routes import allow_list
from deployer.kube import objects
from deployer.kube.refusals import Rejected, UnknownApi
from deployer.kube.session import Session
from deployer.targets import Deadline
from deployer.targets.kubernetes import foreign_lists
from deployer.targets.kubernetes.labels import is_own

_POLL_SECONDS: Final = 0.2


class OwnObjects:
    """The objects with the labels of server `name` in the session's namespace.

    `take_over` allows changes to objects and fields that belong to others.
    """

    def __init__(self, session: Session, name: str, *, take_over: bool) -> None:
        self._session = session
        self._name = name
        self._take_over = take_over
        self._list_replaced: float | None = None

    @property
    def list_age(self) -> float | None:
        """Seconds since this command replaced the Route's allow-list, None if it did not."""
        return None if self._list_replaced is None else time.monotonic() - self._list_replaced

    def get(self, ref: Ref) -> Manifest | None:
        """Return an object of the server, None if it does not exist or belongs to somebody else."""
        try:
            live = objects.get(self._session, KINDS[ref.kind], ref.name)
        except UnknownApi:
            return None  # the API was removed from the cluster, together with the object
        return live if live and is_own(live, self._name) else None

    def differences(self, manifest: Manifest, *, force: bool) -> tuple[Change, ...]:
        """Return what an apply of a manifest would change, as the API server reports it in a dry run.

        Raises:
            Conflict: an object with that name, or a field of it, belongs to somebody else.
        """
        ref = ref_of(manifest)
        live = objects.get(self._session, KINDS[ref.kind], ref.name)
        while True:
            if live and not is_own(live, self._name) and not self._take_over:
                raise Conflict(
                    f"{ref} exists already in namespace {self._session.namespace!r} and is not deployer's",
                    hint=Remedy.ADOPT_OBJECT,
                )
            if live and live["metadata"].get("deletionTimestamp"):
                return (Change(str(ref), "being deleted", "there"),)
            if live and is_fixed(live, manifest):
                return (Change(str(ref), "with another host or certificate", "made anew"),)
            try:
                wanted = objects.apply(self._session, manifest, dry_run=True, force=force)
            except Rejected:
                if live and _never_bound(live):
                    return (Change(str(ref), "never got storage", "made anew"),)
                raise
            if not live:
                return (Change(str(ref), None, "there"),)
            changes = (*object_changes(ref, live, wanted), *foreign_lists.removals(wanted, manifest, force=force))
            if not changes:
                return ()
            # a controller of the cluster may have written between the two responses: compare again
            before, live = live, objects.get(self._session, KINDS[ref.kind], ref.name)
            if live and live["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]:
                return changes

    def apply(self, manifest: Manifest, deadline: Deadline) -> None:
        """Apply a manifest; make the object anew if it cannot be changed and holds no data."""
        ref = ref_of(manifest)
        self._require_not_leaving(ref, deadline)
        route = self.get(ref) if ref.kind == ROUTE.name else None
        if route and is_fixed(route, manifest):
            self.delete([ref], deadline)
        try:
            applied = objects.apply(self._session, manifest, force=self._take_over)
            foreign_lists.remove(self._session, applied, manifest, force=self._take_over)
            if route and allow_list(route) != allow_list(manifest):
                self._list_replaced = time.monotonic()
        except Rejected:
            live = self.get(ref_of(manifest))
            if not live or not _never_bound(live):
                raise
            # a claim's request is immutable; this claim was never bound, so it holds no data
            objects.delete(self._session, live, exactly=True)
            self._require_not_leaving(ref_of(manifest), deadline)
            objects.apply(self._session, manifest, force=self._take_over)

    def delete(self, refs: Sequence[Ref], deadline: Deadline) -> None:
        """Delete objects of the server, and wait until they are gone."""
        gone = [live for ref in refs if (live := self.get(ref)) is not None]
        for live in gone:
            objects.delete(self._session, live)
        for live in gone:
            ref = ref_of(live)
            while (now := self.get(ref)) and now["metadata"]["uid"] == live["metadata"]["uid"]:
                deadline.require(f"{ref} is still being deleted")
                time.sleep(_POLL_SECONDS)

    def _require_not_leaving(self, ref: Ref, deadline: Deadline) -> None:
        """Wait until an object that is being deleted is gone: an apply to it would be lost."""
        while (live := objects.get(self._session, KINDS[ref.kind], ref.name)) and live["metadata"].get(
            "deletionTimestamp"
        ):
            deadline.require(f"{ref} is still being deleted")
            time.sleep(_POLL_SECONDS)


def _never_bound(live: Manifest) -> bool:
    unbound = not live["spec"].get("volumeName") and (live.get("status") or {}).get("phase") == "Pending"
    return live["kind"] == PVC.name and unbound
