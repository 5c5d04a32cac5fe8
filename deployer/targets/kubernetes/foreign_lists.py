"""Allow-lists that others have set on a server's Route: reported, rejected, or removed by force."""

from __future__ import annotations

from deployer.core.changes import Change
from deployer.core.errors import Conflict
from deployer.core.manifest import Manifest, ref_of
from deployer.core.remedies import Remedy
from deployer.core.routes import foreign_lists
from deployer.kube import objects
from deployer.kube.session import Session


def removals(applied: Manifest, manifest: Manifest, *, force: bool) -> tuple[Change, ...]:
    """Return the removal of each foreign allow-list that an apply of `manifest` leaves on a Route.

    Server-side apply keeps the annotations of others, and reports no conflict for annotations that the manifest lacks.

    Raises:
        Conflict: the Route has foreign allow-lists, and `force` is False.
    """
    ref, foreign = ref_of(manifest), foreign_lists(applied, manifest)
    if foreign and not force:
        said = ", ".join(f"{key}: {text!r}" for key, text in foreign.items())
        raise Conflict(
            f"somebody else has set on {ref} who may connect ({said})",
            hint=Remedy.REPLACE_ALLOW_LIST,
        )
    return tuple(Change(f"{ref} metadata.annotations.{key}", text, None) for key, text in foreign.items())


def remove(session: Session, applied: Manifest, manifest: Manifest, *, force: bool) -> None:
    """Remove the foreign allow-lists from the Route in the cluster.

    Raises:
        Conflict: as `removals`.
    """
    if removals(applied, manifest, force=force):
        objects.remove_annotations(session, applied, foreign_lists(applied, manifest))
