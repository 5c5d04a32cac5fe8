"""Finds the image of a container in the status of its pod; sends no request."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from deployer.core.manifests.manifest import Manifest

# a digest from a registry can be pulled again; a bare `sha256:...` is only the container runtime's own image ID
_DIGEST: Final = re.compile(r"@(sha256:[0-9a-f]{64})$")


@dataclass(frozen=True)
class RunningImage:
    """The image reference of a container, and the digest that its node pulled; None if the node did not pull it."""

    image: str
    digest: str | None


def running_image(pod: Manifest, container: str) -> RunningImage | None:
    """Return the image of a ready container, or None (core/v1 ContainerStatus, `imageID`)."""
    image = {found["name"]: found["image"] for found in pod["spec"]["containers"]}.get(container)
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status["name"] == container and status.get("ready") and image:
            digest = _DIGEST.search(status.get("imageID") or "")
            return RunningImage(image, digest[1] if digest else None)
    return None
