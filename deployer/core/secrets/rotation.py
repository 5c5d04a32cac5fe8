"""Decides the next step of a password change from which of the two passwords the server accepts."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final


class Move(Enum):
    """The next step of a password change."""

    STAGE = "store a new password as pending"
    CHANGE = "give the server the pending password"
    PROMOTE = "store the pending password as the current one"
    STOP_BOTH = "stop: the server accepts both"
    STOP_NEITHER = "stop: the server accepts neither"


# whether the server accepts the current password, and the pending one (None without a pending password)
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
    """Return the next step of a password change.

    `current` and `pending` say whether the server accepts that password. `pending` is None if there is no pending
    password. A current password that equals the pending one counts as not accepted. `authority` says that the password
    can be changed without knowing it: the administrator can change a member's password, and every password can be
    changed in the server's own database.
    """
    move = _TABLE[current, pending]
    if move is Move.STOP_NEITHER and authority:
        return Move.STAGE if pending is None else Move.CHANGE
    return move
