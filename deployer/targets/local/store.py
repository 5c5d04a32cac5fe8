"""Keeps records and secrets of local servers: files in the XDG state directory, readable only by their owner."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from deployer.core.errors import Conflict, Damaged, DeployerError, Forbidden, InvalidSpec, NoRoom, StateError
from deployer.core.remedies import Remedy
from deployer.core.secrets.references import ADMIN_PASSWORD, ADMIN_USERNAME, SecretRef
from deployer.core.secrets.values import Secrets
from deployer.core.stack.record import Record, record_from
from deployer.core.stack.settings import DATA_VOLUME
from deployer.targets import ChangeKind, Deadline
from deployer.targets.local.folders import WorkloadFolder, folder_of, folders_in
from deployer.targets.local.locks import FULL, hold, sweep

FOLDER: Final = "mlflow-deployer"  # below the state home
_AWKWARD: Final = frozenset("%?#\\\"'")


def state_home() -> Path:
    """Return `$XDG_STATE_HOME` or its default (XDG Base Directory specification).

    Raises:
        StateError: the user has no home directory.
    """
    home = os.environ.get("XDG_STATE_HOME")
    if home and os.path.isabs(home):
        return Path(home)
    try:
        return Path.home() / ".local" / "state"
    except RuntimeError:
        raise StateError("you have no home directory here", hint="set HOME or XDG_STATE_HOME") from None


def state_directory(*, make: bool = True) -> Path:
    """Return `$XDG_STATE_HOME/mlflow-deployer` (XDG Base Directory specification); create it as a private directory.

    Without `make`, only check the directory and change nothing.

    Raises:
        StateError, Forbidden: the directory cannot be created, belongs to another user, or its path does not fit in a
            database URI.
    """
    folder = state_home() / FOLDER
    awkward = sorted(c for c in set(str(folder)) if c in _AWKWARD or not c.isprintable())
    if awkward:
        raise StateError(
            f"the state directory {str(folder)!r} has {' '.join(map(repr, awkward))} in its path, "
            "which MLflow's database addresses cannot hold",
            hint="set XDG_STATE_HOME to another directory",
        )
    with explained(folder):
        if make:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        elif not folder.exists():
            return folder
        owner = folder.stat()
        if owner.st_uid != os.geteuid():
            raise Forbidden(f"the state directory {folder} belongs to user id {owner.st_uid}, not to you")
        if not make:
            return folder
        if owner.st_mode & 0o077:
            folder.chmod(0o700)
        for part in ("servers", "environments"):
            (folder / part).mkdir(mode=0o700, exist_ok=True)
            sweep(folder / part)
    return folder


def no_room(path: object) -> NoRoom:
    """Return the error for a full disk or an exhausted quota at `path`."""
    hint = "free some space and type the same command again: it continues from here"
    return NoRoom(f"no room left at {path}", hint=hint)


@contextmanager
def explained(where: Path) -> Iterator[None]:
    """Turn an OSError into a DeployerError with a hint."""
    try:
        yield
    except OSError as error:
        path = error.filename or where
        if error.errno in FULL:
            raise no_room(path) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise Forbidden(
                f"cannot use {path}: {error.strerror}",
                hint="make it writable, or set XDG_STATE_HOME to a directory of yours",
            ) from error
        raise StateError(
            f"cannot use {path}: {error.strerror}", hint="set XDG_STATE_HOME to another directory"
        ) from error


def server_names(state: Path) -> list[str]:
    """Return the names of all servers with a record, including deleted ones whose data is kept."""
    with explained(state):
        return sorted(path.parent.name for path in (state / "servers").glob("[a-z]*/record.json"))


class LocalStore:
    """The folder of one server."""

    def __init__(self, state: Path, name: str) -> None:
        self._name = name
        self._servers = state / "servers"
        self.folder = self._servers / name
        self.data = self.folder / "data"
        self._trash = self._servers / f".deleted-{name}"
        self._record = self.folder / "record.json"
        self._secrets = self.folder / "secrets.json"

    def volume(self, name: str) -> Path:
        """Return the folder of a volume."""
        return self.data if name == DATA_VOLUME else self.folder / "volumes" / name

    def workload(self, name: str) -> WorkloadFolder:
        """Return the files of a workload."""
        return folder_of(self.folder, name)

    def workloads(self) -> tuple[WorkloadFolder, ...]:
        """Return the files of all workloads that were ever started and not deleted: first the workload `server`."""
        return folders_in(self.folder)

    def load(self) -> Record | None:
        """Return the record, None without one.

        Raises:
            Damaged: the file is not a record of this release.
        """
        data = self._read(self._record)
        if data is None:
            return None
        try:
            return record_from(data, str(self._record))
        except (InvalidSpec, KeyError, TypeError, ValueError, AttributeError) as error:
            detail = f": {error.message}" if isinstance(error, DeployerError) else ""
            raise self._damaged(self._record, f"is not a record of this release{detail}") from error

    def save(self, record: Record) -> Record:
        """Replace the record atomically.

        Raises:
            Conflict: the version of the stored record is not `record.version`.
        """
        stored = self.load()
        if (stored.version if stored else 0) != record.version:
            raise Conflict(f"the record of {self._name} was changed in the meantime", hint="try again")
        saved = replace(record, version=record.version + 1)
        with explained(self.folder):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            draft = self._draft(saved.document())
            draft.replace(self._record)
            _sync(self.folder)
        return saved

    def known(self) -> bool:
        """Tell whether anything of the server exists, including the remains of an interrupted delete."""
        return self.folder.exists() or self._trash.exists()

    def secrets(self) -> Secrets | None:
        """Return the stored secrets, None without any.

        Raises:
            Damaged: the file is not a secrets file of this release.
        """
        data = self._read(self._secrets)
        if data is None:
            return None
        try:
            stored = {
                SecretRef(name, key): str(text) for name in ("admin", "server") for key, text in data[name].items()
            }
            if not {ADMIN_USERNAME, ADMIN_PASSWORD} <= stored.keys():
                raise KeyError
            return Secrets(stored)
        except (KeyError, AttributeError, TypeError):
            raise self._damaged(self._secrets, "is not a secrets file of this release") from None

    def create_if_absent(self, secrets: Secrets) -> Secrets:
        """Store `secrets` unless some exist already; return the stored ones."""
        document = {
            name: {ref.key: text for ref, text in secrets.values.items() if ref.secret == name}
            for name in ("admin", "server")
        }
        with explained(self.folder):
            self.folder.mkdir(mode=0o700, exist_ok=True)
            draft = self._draft(document)
            try:
                os.link(draft, self._secrets)  # unlike rename, never replaces
                _sync(self.folder)
            except FileExistsError:
                pass  # another deployer was faster; its secrets are used
            finally:
                draft.unlink()
        stored = self.secrets()
        if stored is None:
            raise StateError(f"{self._secrets} vanished while it was being written")
        return stored

    def patch_secrets(self, values: Mapping[SecretRef, str | None]) -> None:
        """Store these values and remove the keys whose value is None; keep all others."""
        stored = self.secrets()
        if stored is None:
            raise StateError(f"{self._secrets} is not there any more", hint="try again")
        merged = {ref: text for ref, text in {**stored.values, **values}.items() if text is not None}
        document = {
            name: {ref.key: text for ref, text in merged.items() if ref.secret == name} for name in ("admin", "server")
        }
        with explained(self.folder):
            self._draft(document).replace(self._secrets)
            _sync(self.folder)

    def existing_secrets(self) -> frozenset[str]:
        """Return both names or none: both secrets are in one file."""
        return frozenset(("admin", "server") if self._secrets.exists() else ())

    def secret_name(self, secret: str) -> str:
        """Return the file, and the part of it."""
        return f"{self._secrets} ({secret})"

    @contextmanager
    def lock(self, reason: str, deadline: Deadline, waiting: Callable[[str], None]) -> Iterator[None]:
        """Lock this server for one deployer, and remove files that a killed deployer left half-written."""
        with ExitStack() as stack:
            with explained(self._servers):  # errors of the work under the lock stay as they are
                stack.enter_context(hold(self._servers / f".{self._name}.lock", reason, deadline, waiting))
                for draft in self.folder.glob(".draft-*"):
                    draft.unlink()
                self._remove_trash()
            yield

    def in_use(self) -> bool:
        """Tell whether half-written files exist. The lock itself ends with its holder."""
        return any(self.folder.glob(".draft-*"))

    def require_rights(self, change: ChangeKind) -> None:  # part of the Protocol
        """Check that the folder, or the nearest folder above it that exists, is writable.

        Raises:
            Forbidden: it is not.
        """
        folder = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        with explained(folder):
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    def forget(self, *, data: bool, deadline: Deadline) -> None:  # part of the Protocol
        """Delete everything but data, credentials and ports; with `data`, delete those too."""
        with explained(self.folder):
            if data:
                if self.folder.exists():
                    # rename first: a kill during the removal must not leave half of the data in
                    # place
                    self.folder.rename(self._trash)
                self._remove_trash()
                return
            server, *others = self.workloads()
            for folder in (server.files, server.temporary, *(other.path for other in others)):
                shutil.rmtree(folder, ignore_errors=True)
            for path in (server.process, server.log, server.log.with_suffix(".log.1")):
                path.unlink(missing_ok=True)

    def _remove_trash(self) -> None:
        if self._trash.exists():
            shutil.rmtree(self._trash)

    def _draft(self, document: dict[str, Any]) -> Path:
        descriptor, path = tempfile.mkstemp(prefix=".draft-", dir=self.folder)  # 0600
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(path)
            raise
        return Path(path)

    def _damaged(self, path: Path, what: str) -> Damaged:
        return Damaged(
            f"{path} {what}",
            hint=Remedy.RESTORE_FILE.of(name=self._name),
        )

    def _read(self, path: Path) -> dict[str, Any] | None:
        with explained(path):
            try:
                data = json.loads(path.read_text("utf-8"))
            except FileNotFoundError:
                return None
            except ValueError:
                raise self._damaged(path, "is damaged: not JSON") from None
        if not isinstance(data, dict):
            raise self._damaged(path, "is damaged: not a JSON object")
        return data


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
