"""What to do next about a password that is being changed: decided from which of the two the server accepts."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final


class Move(Enum):
    """The next thing to do."""

    STAGE = "store a new password as pending"
    CHANGE = "give the server the pending password"
    PROMOTE = "store the pending password as the current one"
    STOP_BOTH = "stop: the server accepts both"
    STOP_NEITHER = "stop: the server accepts neither"


# does the server accept the current one? the pending one (None: there is none)?
_TABLE: Final = MappingProxyType(
    {
        (True, None): Move.STAGE,
        (True, False): Move.CHANGE,
        (False, True): Move.PROMOTE,
        (True, True): Move.STOP_BOTH,
        (False, None): Move.STOP_NEITHER,
        (False, False): Move.STOP_NEITHER,
    }
)


def next_move(*, current: bool, pending: bool | None, authority: bool = False) -> Move:
    """Return what to do about a password.

    `current` and `pending` say whether the server accepts them, None that there is none, and a current one that is the
    pending one counts as not accepted. `authority` says that it can be changed without knowing it: a member's by the
    administrator, and everybody's in the server's own database.
    """
    move = _TABLE[current, pending]
    if move is Move.STOP_NEITHER and authority:
        return Move.STAGE if pending is None else Move.CHANGE
    return move
