"""Reads what a pod's status says of its images; asks nothing itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from deployer.core.manifest import Manifest

# what can be pulled again: a registry's digest. A bare `sha256:...` is a runtime's own number of an image
_DIGEST: Final = re.compile(r"@(sha256:[0-9a-f]{64})$")


@dataclass(frozen=True)
class RunningImage:
    """The reference that a container was made from, and the digest that its node pulled; None: it pulled nothing."""

    image: str
    digest: str | None


def running_image(pod: Manifest, container: str) -> RunningImage | None:
    """Return the image of a pod's container that is ready, or None (core/v1 ContainerStatus, `imageID`)."""
    image = {found["name"]: found["image"] for found in pod["spec"]["containers"]}.get(container)
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status["name"] == container and status.get("ready") and image:
            digest = _DIGEST.search(status.get("imageID") or "")
            return RunningImage(image, digest[1] if digest else None)
    return None
