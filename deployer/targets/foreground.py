"""The interface Foreground: follows a server of this machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


class Foreground(Protocol):
    """Follows a server that runs as a process of this machine."""

    def hold(self) -> AbstractContextManager[None]:
        """Make this the only foreground command of the server.

        Raises:
            Conflict: another command has the server in the foreground.
        """

    def stay(self, wake: int, line: Callable[[str], None], *, whole: bool) -> bool:
        """Pass on the server's output until the server ends (False) or the descriptor `wake` becomes readable (True).

        `whole` starts with the first line of the log instead of the next new line.
        """
