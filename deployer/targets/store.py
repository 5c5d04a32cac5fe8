"""The interface Store: keeps what deployer knows about a server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Literal, Protocol

from deployer.core.record import Record
from deployer.core.secrets import Secrets
from deployer.core.stack import SecretRef
from deployer.targets.deadline import Deadline

ChangeKind = Literal["create", "update", "rotate", "stop", "delete", "delete data"]


class Store(Protocol):
    """Keeps a server's record and secrets."""

    def load(self) -> Record | None:
        """Return the record, None without one."""

    def save(self, record: Record) -> Record:
        """Replace the stored record and return the new one.

        Raises:
            Conflict: the version of the stored record is not `record.version`.
        """

    def known(self) -> bool:
        """Tell whether anything of the server exists, including the remains of an interrupted delete."""

    def secrets(self) -> Secrets | None:
        """Return the stored secrets, None without any."""

    def create_if_absent(self, secrets: Secrets) -> Secrets:
        """Store `secrets` unless some exist already; return the stored ones."""

    def patch_secrets(self, values: Mapping[SecretRef, str | None]) -> None:
        """Store these values and remove the keys whose value is None; keep all others."""

    def existing_secrets(self) -> frozenset[str]:
        """Return which of the two secrets exist, even if they are incomplete."""

    def secret_name(self, secret: str) -> str:
        """Return the display name of one of the two secrets, and its last change if known."""

    def lock(self, reason: str, deadline: Deadline, waiting: Callable[[str], None]) -> AbstractContextManager[None]:
        """Lock the server for one deployer; call `waiting` with the current holder."""

    def in_use(self) -> bool:
        """Tell whether another deployer works on the server, or was killed and has left traces."""

    def require_rights(self, change: ChangeKind) -> None:
        """Check, without a write, that the user may make such a change, as far as this can be asked.

        Raises:
            Forbidden: the user may not.
        """

    def forget(self, *, data: bool, deadline: Deadline) -> None:
        """Delete everything but data, credentials and ports; with `data`, delete those too."""
