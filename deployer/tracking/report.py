"""The result of a proof: one Check for each question that the server was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from deployer.core.errors import VerificationFailed
from deployer.core.remedies import Hint

LOGIN: Final = "password accepted"  # the check of the login; its failure has a hint of its own


@dataclass(frozen=True)
class Check:
    """The result of one check; `ok` is None if an earlier failure prevented the check.

    `answered` is False if the connection failed, so the check says nothing about the server. `hint` says what the user
    can do about a failure.
    """

    name: str
    ok: bool | None
    detail: str
    seconds: float = 0.0
    answered: bool = True
    hint: Hint | None = None


@dataclass(frozen=True)
class Report:
    """The proof: all checks in order, and warnings about a server that passed."""

    checks: tuple[Check, ...]
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True if every check passed."""
        return all(check.ok for check in self.checks)

    @property
    def answered(self) -> bool:
        """False if a check failed because the server could not be reached."""
        return all(check.answered for check in self.checks)

    def require(self, refused: Callable[[], Hint] | None = None) -> None:
        """Raise VerificationFailed with the message and the hint of the first failed check.

        `refused` returns the hint for a rejected login, in place of the check's.
        """
        for check in self.checks:
            if check.ok is False:
                hint = refused() if refused and check.name == LOGIN else check.hint
                raise VerificationFailed(f"{check.name}: {check.detail}", hint=hint)
