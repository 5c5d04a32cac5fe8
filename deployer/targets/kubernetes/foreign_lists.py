"""Allow-lists that somebody else has written on a server's Route: named, refused, or removed with --take-over."""

from __future__ import annotations

from deployer.core.changes import Change
from deployer.core.errors import Conflict
from deployer.core.manifest import Manifest, ref_of
from deployer.core.routes import foreign_lists
from deployer.kube import objects
from deployer.kube.session import Session


def removals(applied: Manifest, manifest: Manifest, *, force: bool) -> tuple[Change, ...]:
    """Return the foreign allow-lists that an apply of `manifest` has left on a Route, as what is to be removed.

    Server-side apply leaves annotations of others alone, and reports no conflict where the manifest has none.

    Raises:
        Conflict: there are some, and `force` is not given.
    """
    ref, foreign = ref_of(manifest), foreign_lists(applied, manifest)
    if foreign and not force:
        said = ", ".join(f"{key}: {text!r}" for key, text in foreign.items())
        raise Conflict(
            f"somebody else has set on {ref} who may connect ({said})",
            hint="add --take-over to remove it; --allow-from with --take-over sets another list in its place",
        )
    return tuple(Change(f"{ref} metadata.annotations.{key}", text, None) for key, text in foreign.items())


def remove(session: Session, applied: Manifest, manifest: Manifest, *, force: bool) -> None:
    """Remove what `removals` returns from the Route in the cluster."""
    if removals(applied, manifest, force=force):
        objects.remove_annotations(session, applied, foreign_lists(applied, manifest))
