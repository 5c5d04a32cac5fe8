"""Every way a command can fail, each with its exit code; what happened, where, why and what to type next."""

from __future__ import annotations

from dataclasses import dataclass


class DeployerError(Exception):
    """A failure that a person can act on.

    `message` says what, where and why; `hint`, where there is one, says what to type next.
    Neither ever holds a secret. `title` begins the message on a terminal.
    """

    title = "Error"
    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DeployerError):
    """The command line, or what it names, is not usable."""

    exit_code = 2


class NotFound(DeployerError):
    """There is no server of that name."""

    title = "Not found"


class NotReady(DeployerError):
    """Something was not ready before the deadline, or stopped being ready."""

    title = "Not ready"
    exit_code = 3


class Forbidden(DeployerError):
    """The operating system or the API refuses what the command needs."""

    title = "Forbidden"
    exit_code = 4


class Conflict(DeployerError):
    """Somebody or something else holds what the command needs: a lock, a port, a field."""

    title = "Conflict"
    exit_code = 5


class Drifted(DeployerError):
    """What runs is not what was asked for."""

    title = "Drift"
    exit_code = 6


class StateError(DeployerError):
    """The place where a server's state is kept cannot be read or written."""


class Damaged(StateError):
    """A stored file does not hold what deployer wrote."""


class NoRoom(StateError):
    """The disk is full, or a quota is used up."""


class ServerRefused(DeployerError):
    """The server's program will not start with what it was given, such as a database of another schema."""

    title = "Server refused"


class EnvironmentFailed(DeployerError):
    """The virtual environment of an MLflow version cannot be made."""

    title = "Installation failed"


class VerificationFailed(DeployerError):
    """The running server did not prove what it must; the message names the first check that failed."""

    title = "Verification failed"


def one_line(text: str) -> str:
    """Return `text` with everything escaped that would move the cursor, end the line or turn its direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def last_line(text: str) -> str:
    """Return the last line of a program's words that says something."""
    return one_line(next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing"))


@dataclass(frozen=True)
class Problem:
    """One mistake in a spec: where (a path such as `spec.database.size`, the line of its file) and what."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = ": ".join(filter(None, (f"line {self.line}" if self.line else "", self.path)))
        return one_line(f"{place}: {self.message}" if place else self.message)


class InvalidSpec(UsageError):
    """A spec with mistakes, all of them at once."""

    def __init__(self, source: str, problems: tuple[Problem, ...], *, hint: str | None = None) -> None:
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{source}: {count}{lines}", hint=hint or "`deployer schema` prints every field")
        self.source = source
        self.problems = problems
