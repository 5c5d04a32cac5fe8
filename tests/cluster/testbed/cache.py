"""Keeps what is slow to build, under the hash of what it was built from, for every checkout of this machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

UNUSED_SECONDS = 14 * 24 * 3600


def root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mlflow-deployer-testbed"


def part(name: str, inputs: Iterable[str | Path], build: Callable[[Path], None]) -> Path:
    """The folder that `build` fills, built once: it appears whole or not at all."""
    key = _hash(inputs)
    kept = root() / f"{name}-{key}"
    with locked(root() / "locks" / kept.name):
        if not kept.is_dir():
            unfinished = root() / "unfinished" / kept.name
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            began = time.monotonic()
            print(f"testbed: building {name}, once", file=sys.stderr, flush=True)
            build(unfinished)
            unfinished.rename(kept)
            print(f"testbed: {name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            _prune(name, kept)
        os.utime(kept)
    return kept


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The kernel drops the lock with its holder, so a killed build blocks nobody."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hash(inputs: Iterable[str | Path]) -> str:
    digest = hashlib.sha256()
    for item in inputs:
        content = item.read_bytes() if isinstance(item, Path) else item.encode()
        digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()[:16]


def _prune(name: str, kept: Path) -> None:
    """Older parts of the same name go once no checkout has used them for two weeks."""
    for old in root().glob(f"{name}-*"):
        # the same name is followed by one hash, a longer name (node, node-image) by more
        if old != kept and old.name.removeprefix(f"{name}-").isalnum():
            unused = time.time() - old.stat().st_mtime
            if unused > UNUSED_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
