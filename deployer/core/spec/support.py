"""Decides which parts of a spec this release supports. All others are refused in plain words, never ignored."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.core.errors import InvalidSpec, Problem
from deployer.core.remedies import Hint, Remedy
from deployer.core.spec.platform import Platform
from deployer.core.spec.routes import annotation_problems
from deployer.core.spec.schema import Spec


def require_supported(spec: Spec, platform: Platform, source: str) -> None:
    """Raise InvalidSpec with everything in `spec` that this release or this platform does not support."""
    problems = tuple(_unsupported(spec, platform))
    if problems:
        raise InvalidSpec(source, problems, hint=_remedy(spec, platform))


def _remedy(spec: Spec, platform: Platform) -> Hint:
    """Return what to change; for an exposure that the platform does not have, also the fields that replace it."""
    wanted, kind = spec.spec.exposure, platform.exposures[0]
    if wanted is None or wanted.type in platform.exposures or not platform.pods:
        return Remedy.CHANGE_LINES
    fields: dict[str, object] = {"spec.exposure.type": kind}
    if kind not in ("none", "route") and not getattr(wanted, "host", None):
        fields["spec.exposure.host"] = None
    if getattr(wanted, "allow_from", None):
        fields["spec.exposure.allowEveryone"] = True
    return Remedy.CHANGE_LINES_OR_EXPOSURE.of(fields=fields)


def _unsupported(spec: Spec, platform: Platform) -> Iterator[Problem]:
    wanted = spec.spec
    if wanted.database.type == "postgres":
        yield Problem("spec.database.type", "postgres is not available in this release; use sqlite or external")
    if wanted.artifacts.type == "objectstore":
        yield Problem("spec.artifacts.type", "objectstore is not available in this release; use volume or s3")
    if wanted.pod.trusted_ca and not platform.pods:
        yield Problem("spec.pod.trustedCa", "is for clusters; here the server takes SSL_CERT_FILE and AWS_CA_BUNDLE")
    yield from _annotations(spec)
    if wanted.exposure is None:
        return
    if wanted.exposure.type not in platform.exposures:
        offered = " or ".join(platform.exposures)
        yield Problem("spec.exposure.type", f"{platform.name} has no {wanted.exposure.type}; use {offered}")
    if getattr(wanted.exposure, "allow_from", None) and not platform.allow_lists:
        yield Problem("spec.exposure.allowFrom", f"{platform.name} has no list of who may connect")


def _annotations(spec: Spec) -> Iterator[Problem]:
    """Yield annotations that no router may get. The schema allows them: records of earlier releases have them."""
    given = [("spec.exposure.annotations", getattr(spec.spec.exposure, "annotations", {}))]
    for index, patch in enumerate(spec.spec.patches):
        metadata = patch.patch.get("metadata") or {}
        given.append((f"spec.patches.{index}.patch.metadata.annotations", metadata.get("annotations") or {}))
    for path, keys in given:
        yield from (Problem(path, problem) for problem in annotation_problems(keys))
