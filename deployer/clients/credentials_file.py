"""Reads the file `~/.mlflow/credentials`, and replaces it with a text from `core/clients/credentials.py`."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deployer.core.clients.credentials import Damaged
from deployer.core.errors import Conflict, DeployerError, Forbidden, StateError
from deployer.core.remedies import Remedy

_DRAFT: Final = ".credentials.deployer-"
_MAX_BYTES: Final = 1 << 20
_TRIES: Final = 20
_NO_LOCKS: Final = {errno.EBADF, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


@dataclass(frozen=True)
class Change:
    """The result of an edit: the path, whether the file changed, and notes for the user."""

    path: Path
    changed: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """The file as read; `content` is None if there is no file."""

    content: bytes | None
    mode: int = 0


def path() -> Path:
    """Return the path of MLflow's credentials file (mlflow/utils/credentials.py).

    Raises:
        StateError: the user has no home directory.
    """
    found = os.path.expanduser("~/.mlflow/credentials")
    if found.startswith("~"):
        raise StateError("you have no home directory here", hint="set HOME")
    return Path(found)


def read() -> str | None:
    """Return the text of the file, None if there is no file.

    Raises:
        StateError, Forbidden: the file cannot be read, or belongs to another user.
    """
    file = path()
    with _explained(file):
        found = _read(Path(os.path.realpath(file)))
    return None if found.content is None else _decoded(file, found.content)


def change(edit: Callable[[str], str], *, private: bool = False) -> Change:
    """Replace the text of the file with the result of `edit`: atomically, with mode 0600, and through symbolic links.

    `edit` is called again if another process has changed the file meanwhile. An unchanged text is not written;
    `private` then sets only the mode 0600.

    Raises:
        StateError: the path is not a valid credentials file, or the disk is full.
        Forbidden: the file belongs to another user, or is not writable.
        Conflict: other processes keep changing the file.
    """
    file = path()
    with _explained(file):
        real = Path(os.path.realpath(file))  # replace the destination of a link, not the link
        for _ in range(_TRIES):
            before = _read(real)
            text = "" if before.content is None else _decoded(file, before.content)
            try:
                after = edit(text)
            except Damaged as damage:
                raise StateError(
                    f"{file} is damaged: {damage}; it was left as it is",
                    hint="repair the file or move it away, then type the same command again",
                ) from None
            notes = _notes(file, real, before)
            if after == text:
                if private and before.mode & 0o077:
                    real.chmod(0o600)
                return Change(file, changed=False, notes=notes if private else ())
            _make_folder(file, real)
            if _replaced(real, before, after.encode("utf-8", "surrogateescape")):
                return Change(file, changed=True, notes=notes)
    raise Conflict(f"{file} is changed all the time by other programs", hint="try again when they have done")


def _decoded(file: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise StateError(
            f"{file} is damaged: it is not UTF-8; it was left as it is", hint="mend it, then again"
        ) from None


def _read(real: Path) -> _Found:
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not block
    except FileNotFoundError:
        return _Found(None)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            what = "a directory" if stat.S_ISDIR(status.st_mode) else "no ordinary file"
            raise StateError(f"{real} is {what}, where MLflow wants a file", hint="move it away, then again")
        if status.st_uid != os.geteuid():
            raise Forbidden(
                f"{real} belongs to user id {status.st_uid}, not to you: a password of yours does not go there",
                hint="move it away, or ask its owner to do so; then type the same command again",
            )
        with os.fdopen(os.dup(descriptor), "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _MAX_BYTES:
        raise StateError(f"{real} is larger than {_MAX_BYTES} bytes, so no credentials file", hint="move it away")
    return _Found(content, stat.S_IMODE(status.st_mode))


def _notes(file: Path, real: Path, before: _Found) -> tuple[str, ...]:
    notes = []
    if before.content is not None and before.mode & 0o077:
        notes.append(f"{file} could be read by others (mode {before.mode:04o}): it has mode 0600 now")
    if real != file and (file.is_symlink() or file.parent.is_symlink()):
        notes.append(f"{file} leads to {real}: that is what was written")
    with suppress(FileNotFoundError):
        folder = real.parent.stat()
        if folder.st_mode & 0o022 and not folder.st_mode & stat.S_ISVTX:
            notes.append(f"others can write into {real.parent} and so replace the file: chmod go-w {real.parent}")
    return tuple(notes)


def _make_folder(file: Path, real: Path) -> None:
    if real.parent.is_dir():
        return
    if file.parent.is_symlink() or file.is_symlink():
        raise StateError(
            f"{file} leads to {real}, and there is no folder {real.parent}",
            hint="create that folder or remove the link; then type the same command again",
        )
    real.parent.mkdir(mode=0o700)


def _replaced(real: Path, before: _Found, content: bytes) -> bool:
    """Replace the file with `content` unless it differs from `before`; return whether it was replaced."""
    with _locked(real.parent) as alone:
        if alone:
            for left in real.parent.glob(f"{_DRAFT}*"):  # from a killed process
                left.unlink(missing_ok=True)
        descriptor, draft = tempfile.mkstemp(prefix=_DRAFT, dir=real.parent)  # 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            if _read(real).content != before.content:
                os.unlink(draft)
                return False
            os.replace(draft, real)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(draft)
            raise
        _sync(real.parent)
    return True


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock the folder against other deployers; yield False on file systems without locks, as for some homes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # held for one file write; the kernel releases it if the holder dies
            held = True
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            held = False
        yield held
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    try:
        yield
    except DeployerError:
        raise
    except OSError as error:
        where = error.filename or file
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StateError(
                f"no room left at {where}; {file} is as it was", hint="free some space and type the same command again"
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise Forbidden(
                f"cannot write {file} ({error.strerror}); nothing was changed",
                hint=Remedy.LEAVE_FILE_OUT,
            ) from error
        raise StateError(f"cannot use {where}: {error.strerror}", hint="mend it, then again") from error
