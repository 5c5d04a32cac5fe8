"""Images by digest: the image in a pod's status, and the image of a pinned pod."""

from __future__ import annotations

import pytest

from deployer.core.spec.schema import Mlflow, ServerSpec, Spec
from deployer.core.stack.assigned import Pin
from deployer.core.stack.components.server import pod_image
from deployer.core.status.image_status import RunningImage, running_image

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
NAME = "ghcr.io/mlflow/mlflow:v3.17.2-full"


def pod(*, ready: bool = True, image_id: str = f"ghcr.io/mlflow/mlflow@{DIGEST}") -> dict:
    status = {"name": "server", "ready": ready, "imageID": image_id}
    return {"spec": {"containers": [{"name": "server", "image": NAME}]}, "status": {"containerStatuses": [status]}}


@pytest.mark.parametrize(
    ("image_id", "digest"),
    [
        (f"ghcr.io/mlflow/mlflow@{DIGEST}", DIGEST),  # containerd, CRI-O
        (f"docker-pullable://ghcr.io/mlflow/mlflow@{DIGEST}", DIGEST),
        (DIGEST, None),  # loaded into the node: no registry knows this digest
        (f"ghcr.io/mlflow/mlflow@{DIGEST[:-1]}", None),
        ("", None),
    ],
)
def test_only_a_digest_of_a_registry_is_reported(image_id: str, digest: str | None) -> None:
    assert running_image(pod(image_id=image_id), "server") == RunningImage(NAME, digest)


def test_a_container_that_is_not_ready_gives_no_image() -> None:
    assert running_image(pod(ready=False), "server") is None
    assert running_image(pod(), "another") is None
    assert running_image({"spec": {"containers": []}}, "server") is None


@pytest.mark.parametrize(
    ("image", "pinned"),
    [
        (None, f"ghcr.io/mlflow/mlflow@{DIGEST}"),
        ("registry.example.org:5000/team/mlflow", f"registry.example.org:5000/team/mlflow@{DIGEST}"),
        ("registry.example.org:5000/team/mlflow:1", f"registry.example.org:5000/team/mlflow@{DIGEST}"),
        (f"quay.io/team/mlflow:1@sha256:{'f' * 64}", f"quay.io/team/mlflow@{DIGEST}"),
    ],
)
def test_a_pin_applies_only_to_the_image_that_it_names(image: str | None, pinned: str) -> None:
    spec = Spec(spec=ServerSpec(mlflow=Mlflow(image=image)))
    wanted = pod_image(spec, None)
    assert pod_image(spec, Pin(wanted, DIGEST)) == pinned
    assert pod_image(spec, Pin(f"{wanted}-other", DIGEST)) == wanted
