"""Queues password guesses after a user and an address have used up their budget, instead of refusing the guesses.

With this queue, a user behind a shared address can still log in after a stranger has used up the budget. A turn lets
one password be checked, and the throttle sets the rate of turns. A site is an IPv4 address or an IPv6 network
(client_address.py). The passwords for one user from one site wait in one lane. Each turn goes to a random password of
the lane. A stranger who keeps many guesses waiting gets most of the turns, and the user may wait long.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

from .throttle import Throttle

PLACES = 64  # passwords from one address that may wait for a turn
MOST_WAITING = 1000  # passwords from all addresses that may wait
PATIENCE = 20.0  # seconds that a password waits; clients and proxies give up after 30
SHORTEST_WAIT = 0.01  # seconds; a wait that is rounded to zero would make a timer fire without end

Key = tuple[str, str]  # user name, site


class TooLate(Exception):
    """A password gets no turn; `seconds` is the time until the next turn."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class GuessTurns:
    """Assigns the guesses that the throttle allows; passwords for one user from one address wait in one lane."""

    def __init__(
        self, throttle: Throttle, *, places: int = PLACES, most: int = MOST_WAITING, patience: float = PATIENCE
    ) -> None:
        self._throttle = throttle
        self._places = places
        self._most = most
        self._patience = patience
        self._lanes: dict[Key, list[asyncio.Future[None]]] = {}  # the oldest first
        self._sizes: Counter[str] = Counter()  # waiting passwords by site
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    async def take(self, key: Key) -> None:
        """Take a guess from the budget of this key; if the budget is used up, wait for a turn.

        Raises:
            TooLate: no turn came in time, or too many passwords wait.
        """
        # if others wait, a newcomer joins their lottery: otherwise clients that retry all the time get every turn
        wait = self._throttle.wait(key) if key in self._lanes else self._throttle.take(key)
        if not wait and key not in self._lanes:
            return
        if sum(self._sizes.values()) >= self._most or not self._make_room(key):
            raise TooLate(wait)
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._lanes.setdefault(key, []).append(turn)
        self._sizes[key[1]] += 1
        self._arm(key, wait)
        deadline = loop.call_later(self._patience, self._give_up, key, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._throttle.give_back(key)  # its turn came while the client disconnected
            raise
        finally:
            deadline.cancel()
            self._remove(key, turn)

    def _make_room(self, key: Key) -> bool:
        """Make room for a password of a site; tell whether there is room now.

        If the site is full, compare two lengths: that of the site's longest lane, and that of the new password's lane
        with the new password in it. If the longest lane is longer, refuse a random password of that lane. Otherwise,
        there is no room.
        """
        site = key[1]
        if self._sizes[site] < self._places:
            return True
        longest = max((found for found in self._lanes if found[1] == site), key=lambda found: len(self._lanes[found]))
        if len(self._lanes[longest]) <= len(self._lanes.get(key, ())) + 1:
            return False
        self._give_up(longest, random.choice(self._lanes[longest]))  # noqa: S311  # for fairness, not for secrecy
        return True

    def _give_up(self, key: Key, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            turn.set_exception(TooLate(self._throttle.wait(key)))
        self._remove(key, turn)

    def _remove(self, key: Key, turn: asyncio.Future[None]) -> None:
        lane = self._lanes.get(key, [])
        if turn not in lane:
            return
        lane.remove(turn)
        self._sizes[key[1]] -= 1
        if not lane:
            del self._lanes[key]
        if not self._sizes[key[1]]:
            del self._sizes[key[1]]

    def _arm(self, key: Key, seconds: float) -> None:
        if key not in self._timers:
            delay = max(seconds, SHORTEST_WAIT)
            self._timers[key] = asyncio.get_running_loop().call_later(delay, self._next_turn, key)

    def _next_turn(self, key: Key) -> None:
        del self._timers[key]
        lane = [turn for turn in self._lanes.get(key, []) if not turn.done()]
        if not lane:
            return
        wait = self._throttle.take(key)  # another process may have taken this turn
        if not wait:
            turn = random.choice(lane)  # noqa: S311  # for fairness, not for secrecy
            turn.set_result(None)
            self._remove(key, turn)
            wait = self._throttle.wait(key)
        if key in self._lanes:
            self._arm(key, wait)
