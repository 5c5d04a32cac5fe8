"""What of the schema this release can really do; the rest is refused in a plain sentence, never ignored."""

from __future__ import annotations

from collections.abc import Iterator

from deployer.core.errors import InvalidSpec, Problem
from deployer.core.platform import Platform
from deployer.core.spec import Spec


def require_supported(spec: Spec, platform: Platform, source: str) -> None:
    """Raise InvalidSpec naming everything in `spec` that this release, or this platform, cannot do."""
    problems = tuple(_unsupported(spec, platform))
    if problems:
        raise InvalidSpec(source, problems, hint="change these lines, or leave them out")


def _unsupported(spec: Spec, platform: Platform) -> Iterator[Problem]:
    wanted = spec.spec
    if wanted.database.type == "postgres":
        yield Problem("spec.database.type", "postgres is not available in this release; use sqlite or external")
    if wanted.artifacts.type == "objectstore":
        yield Problem("spec.artifacts.type", "objectstore is not available in this release; use volume or s3")
    if wanted.pod.trusted_ca and not platform.pods:
        yield Problem("spec.pod.trustedCa", "is for clusters; here the server takes SSL_CERT_FILE and AWS_CA_BUNDLE")
    if wanted.exposure is None:
        return
    if wanted.exposure.type not in platform.exposures:
        offered = " or ".join(platform.exposures)
        yield Problem("spec.exposure.type", f"{platform.name} has no {wanted.exposure.type}; use {offered}")
    if getattr(wanted.exposure, "allow_from", None) and not platform.allow_list_annotation:
        yield Problem("spec.exposure.allowFrom", f"{platform.name} has no list of who may connect")
