"""All failures of a command, each with its exit code. The texts say what happened, where, why and what to type next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployer.core.remedies import Hint, Remedy


class DeployerError(Exception):
    """A failure that the user can act on.

    `message` says what failed, where and why. `hint`, if there is one, says what to do next: a text, or a value for
    which the command line has the words. Neither holds a secret.
    `title` begins the message on a terminal.
    """

    title = "Error"
    exit_code = 1

    def __init__(self, message: str, *, hint: Hint | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DeployerError):
    """The command line is invalid, or names something that cannot be used."""

    exit_code = 2


class UnusableValue(UsageError):
    """A field of the spec, such as `spec.local.python`, has a value that cannot be used here."""

    def __init__(self, path: str, value: str, problem: str, *, hint: Hint | None = None) -> None:
        super().__init__(f"{path} {value}: {problem}", hint=hint)
        self.path = path
        self.value = value
        self.problem = problem


class NotFound(DeployerError):
    """The named server or object does not exist."""

    title = "Not found"


class NotReady(DeployerError):
    """Something did not become ready before the deadline, or stopped being ready."""

    title = "Not ready"
    exit_code = 3


class Forbidden(DeployerError):
    """The operating system or the API refuses an action that the command needs."""

    title = "Forbidden"
    exit_code = 4


class Conflict(DeployerError):
    """Another user or program has what the command needs: a lock, a port, a field."""

    title = "Conflict"
    exit_code = 5


class Drifted(DeployerError):
    """The running server differs from what was asked for."""

    title = "Drift"
    exit_code = 6


class StateError(DeployerError):
    """The stored state of a server cannot be read or written."""


class Damaged(StateError):
    """A stored file does not have the content that deployer wrote."""


class NoRoom(StateError):
    """The disk is full, or a quota is exhausted."""


class ServerRefused(DeployerError):
    """The server program refuses to start with its settings, for example with a database of another schema."""

    title = "Server refused"


class EnvironmentFailed(DeployerError):
    """The virtual environment of an MLflow version cannot be created."""

    title = "Installation failed"


class VerificationFailed(DeployerError):
    """The running server failed its verification; the message names the first check that failed."""

    title = "Verification failed"


def one_line(text: str) -> str:
    """Return `text` with escapes for all characters that move the cursor, end the line or change the text direction."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def last_line(text: str) -> str:
    """Return the last line of a program's output that is not empty, or "it said nothing"."""
    return one_line(next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "it said nothing"))


def any_of(words: Sequence[str]) -> str:
    """Return words as a choice: `a`, `a or b`, `a, b or c`."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


@dataclass(frozen=True)
class Problem:
    """One mistake in a spec: the path of its field (such as `spec.database.size`), its line in the file, a message."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = ": ".join(filter(None, (f"line {self.line}" if self.line else "", self.path)))
        return one_line(f"{place}: {self.message}" if place else self.message)


class InvalidSpec(UsageError):
    """A spec with mistakes; the message lists all of them."""

    def __init__(self, source: str, problems: tuple[Problem, ...], *, hint: Hint | None = None) -> None:
        count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{source}: {count}{lines}", hint=hint or Remedy.SEE_FIELDS)
        self.source = source
        self.problems = problems
