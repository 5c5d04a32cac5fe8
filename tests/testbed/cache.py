"""Caches slow build results by the hash of their inputs, for all checkouts on this machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from tests.testbed import progress
from tests.testbed.progress import Task

UNUSED_SECONDS = 14 * 24 * 3600


def root() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "mlflow-deployer-testbed"


def part(name: str, inputs: Iterable[str | Path], build: Callable[[Path, Task], None], title: str = "") -> Path:
    """Return the folder that `build` fills once. The folder is complete or absent; progress shows it as `title`."""
    key = _hash(inputs)
    kept = root() / f"{name}-{key}"
    title = title or name
    with locked(root() / "locks" / kept.name, f"waiting for another process that builds {title}"):
        if not kept.is_dir():
            unfinished = root() / "unfinished" / kept.name
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            with progress.task(f"building {title}, once") as task:
                build(unfinished, task)
            unfinished.rename(kept)
            _prune(name, kept)
        os.utime(kept)
    return kept


@contextmanager
def locked(path: Path, waiting: str = "") -> Iterator[None]:
    """Hold a lock that the kernel releases when the process ends; show `waiting` during a wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress.task(waiting) if waiting else nullcontext():
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _hash(inputs: Iterable[str | Path]) -> str:
    digest = hashlib.sha256()
    for item in inputs:
        content = item.read_bytes() if isinstance(item, Path) else item.encode()
        digest.update(f"{len(content)}:".encode() + content)
    return digest.hexdigest()[:16]


def _prune(name: str, kept: Path) -> None:
    """Remove older results of the same name that no checkout has used for two weeks."""
    for old in root().glob(f"{name}-*"):
        # after `name-` only a hash may follow: `node` must not match the results of `node-image`
        if old != kept and old.name.removeprefix(f"{name}-").isalnum():
            unused = time.time() - old.stat().st_mtime
            if unused > UNUSED_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
