"""Installs the Debian packages that the cluster needs and this machine lacks."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.testbed import progress
from tests.testbed.command import run

# package: a file that it installs
PACKAGES = {
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "containerd": "/usr/bin/containerd",
    "containernetworking-plugins": "/usr/lib/cni/bridge",
    "debian-archive-keyring": "/usr/share/keyrings/debian-archive-keyring.gpg",
    "e2fsprogs": "/usr/sbin/mkfs.ext4",
    "iproute2": "/usr/sbin/ip",
    "iptables": "/usr/sbin/iptables",
    "kmod": "/usr/sbin/modprobe",
    "mmdebstrap": "/usr/bin/mmdebstrap",
    "mount": "/usr/bin/mount",
    "nftables": "/usr/sbin/nft",
    "openssl": "/usr/bin/openssl",
    "procps": "/usr/sbin/sysctl",
    "runc": "/usr/sbin/runc",
    "util-linux": "/usr/bin/nsenter",
    "xfsprogs": "/usr/sbin/mkfs.xfs",
}
BROWSER = {"chromium": "/usr/bin/chromium", "libnss3-tools": "/usr/bin/certutil"}
SHELLS = {"fish": "/usr/bin/fish", "zsh": "/usr/bin/zsh"}
SERVICES_KEPT_DOWN = Path("/usr/sbin/policy-rc.d")
LOCK = Path("/run/lock/mlflow-deployer-testbed-packages")


def ensure() -> None:
    if os.geteuid() != 0:
        raise PermissionError("the test cluster needs root: namespaces, mounts and links are its substance")
    if not shutil.which("go"):
        raise FileNotFoundError("Go 1.26 or newer is needed on PATH: https://go.dev/doc/install")
    install(PACKAGES)


def install(packages: Mapping[str, str]) -> None:
    """Install the packages whose file is missing; several processes may call this at once."""
    if not _missing(packages):
        return
    with LOCK.open("w") as lock:  # apt-get fails instead of waiting for another apt-get
        fcntl.flock(lock, fcntl.LOCK_EX)
        if missing := _missing(packages):
            _install(missing)


def _missing(packages: Mapping[str, str]) -> list[str]:
    return [name for name, file in packages.items() if not Path(file).exists()]


def _install(names: list[str]) -> None:
    # Debian starts a service when it installs its package; prevent this, because the node runs its own containerd
    ours = not SERVICES_KEPT_DOWN.exists()
    if ours:
        SERVICES_KEPT_DOWN.write_text("#!/bin/sh\nexit 101\n")
        SERVICES_KEPT_DOWN.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        with progress.task(f"installing Debian packages: {', '.join(names)}"):
            run("apt-get", "update", "-q", env=environment)
            run("apt-get", "install", "-q", "-y", "--no-install-recommends", *names, env=environment)
    finally:
        if ours:
            SERVICES_KEPT_DOWN.unlink()
