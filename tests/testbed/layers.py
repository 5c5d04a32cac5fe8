"""Makes the layers of the cluster's images: Debian with Python, MLflow, and single programs. Builds each layer once."""

from __future__ import annotations

import hashlib
import re
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.testbed import cache, wheels
from tests.testbed.command import run
from tests.testbed.progress import Task

SUITE = "bookworm"
DEBIAN_PACKAGES = ("ca-certificates", "curl", "python3")
NEEDLESS = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
MLFLOW = "3.17.2"
MLFLOW_PACKAGES = (f"mlflow[auth]=={MLFLOW}", "psycopg2-binary", "boto3")

# Compile to bytecode without checks of the sources: the root is read-only, and half of MLflow's start is compilation
MLFLOW_BUILD = f"""\
set -eu
export HOME=/tmp UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never SSL_CERT_FILE=/run/ca.crt
/run/uv venv --quiet --python /usr/bin/python3 /opt/mlflow
/run/uv pip install --quiet --python /opt/mlflow/bin/python '{"' '".join(MLFLOW_PACKAGES)}'
/opt/mlflow/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/mlflow/lib >/dev/null || true
"""


@dataclass(frozen=True)
class Layer:
    """An uncompressed layer; image configurations and manifests refer to it by `digest`."""

    tar: Path
    digest: str


def debian() -> Layer:
    def build(target: Path, _: Task) -> None:
        options = [f"--dpkgopt=path-exclude={pattern}" for pattern in NEEDLESS]
        run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(DEBIAN_PACKAGES)}", *options,
            SUITE, target / "layer.tar", *_debian_sources(target))  # fmt: skip

    return _layer("layer-debian", [SUITE, *DEBIAN_PACKAGES, *NEEDLESS], build)


def mlflow() -> Layer:
    base = debian()

    def build(target: Path, _: Task) -> None:
        with tempfile.TemporaryDirectory(dir=target) as temporary:
            root = Path(temporary)
            run("tar", "--extract", "--file", base.tar, "--directory", root)
            _in_root(root, MLFLOW_BUILD)
            run("tar", "--create", "--numeric-owner", "--file", target / "layer.tar", "--directory", root, "opt/mlflow")

    return _layer("layer-mlflow", [base.digest, MLFLOW_BUILD], build)


def haproxy() -> Layer:
    """Files of the package and its dependencies, only in /usr: elsewhere, a folder could replace a link of the base."""
    base = debian()
    folders = ("./usr/sbin/", "./usr/lib/")

    def build(target: Path, _: Task) -> None:
        whole = target / "whole.tar"
        run("mmdebstrap", "--quiet", "--variant=extract", "--include=haproxy", SUITE, whole, *_debian_sources(target))
        with tarfile.open(base.tar) as archive:
            there = set(archive.getnames())
        with tarfile.open(whole) as archive, tarfile.open(target / "layer.tar", "w") as layer:
            for member in archive:
                if member.name.startswith(folders) and member.name not in there:
                    layer.addfile(member, archive.extractfile(member) if member.isreg() else None)
        whole.unlink()

    return _layer("layer-haproxy", [base.digest, SUITE, *folders], build)


def program(name: str, binary: Path) -> Layer:
    """One static program at the root, and the /tmp that programs expect."""

    def build(target: Path, _: Task) -> None:
        with tarfile.open(target / "layer.tar", "w") as archive:
            temporary = tarfile.TarInfo("tmp")
            temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
            archive.addfile(temporary)
            archive.add(binary, name, filter=_root_owned)

    return _layer(f"layer-{name}", [str(binary), name], build)


def _root_owned(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid, member.gid, member.uname, member.gname, member.mode = 0, 0, "root", "root", 0o755
    return member


def _layer(name: str, inputs: list[str], build: Callable[[Path, Task], None]) -> Layer:
    def with_digest(target: Path, task: Task) -> None:
        build(target, task)
        with (target / "layer.tar").open("rb") as tar:
            (target / "digest").write_text(f"sha256:{hashlib.file_digest(tar, 'sha256').hexdigest()}")

    folder = cache.part(name, inputs, with_digest, f"image layer {name.removeprefix('layer-')}")
    return Layer(folder / "layer.tar", (folder / "digest").read_text())


def _debian_sources(folder: Path) -> list[Path]:
    """Return this machine's package sources if it runs the same Debian release, else nothing (mmdebstrap's default)."""
    candidates = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    texts = [file.read_text() for file in candidates if file.is_file()]
    sources = {
        "machine.sources": [text for text in texts if re.search(rf"(?m)^Suites:.*\b{SUITE}\b", text)],
        "machine.list": [line for text in texts for line in re.findall(rf"(?m)^deb\s.*\s{SUITE}(?:-\S+)?\s.*$", text)],
    }
    for name, parts in sources.items():
        (folder / name).write_text("\n".join(parts) + "\n")
    return [folder / name for name, parts in sources.items() if parts]


def _in_root(root: Path, script: str) -> None:
    """Run a shell script as root in another root directory, with this machine's settings for the package index."""
    from uv import find_uv_bin

    binds = {
        find_uv_bin(): "run/uv",
        "/etc/resolv.conf": "etc/resolv.conf",
        "/etc/hosts": "etc/hosts",
        "/etc/ssl/certs/ca-certificates.crt": "run/ca.crt",
        "/dev/urandom": "dev/urandom",
        "/dev/null": "dev/null",
    }
    mounts = [f"mount -t proc proc {root}/proc"]
    for source, target in binds.items():
        (root / target).touch()
        mounts.append(f"mount --bind {source} {root / target}")
    environment = wheels.index_settings() | {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    inner = f'{" && ".join(mounts)} && exec chroot {root} /bin/sh -c "$1"'
    run("unshare", "--mount", "--propagation", "private", "sh", "-ec", inner, "sh", script, env=environment)
