"""A bounded queue that serves client addresses in turn. Pure: no clock, no threads, no event loop.

Each address has named lanes, which are also served in turn. A lane is first in, first out.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Full(Exception):
    """The queue has no room for this item, or gave the item's place to an item of another lane."""


class FairQueue(Generic[T]):
    """Holds at most `places` items, and at most `share` items of one address.

    If the queue is full, the address with the most items loses one: a flooding address cannot keep others out. Items
    are compared by identity or equality and must be hashable.
    """

    def __init__(self, places: int, share: int) -> None:
        self._places = places
        self._share = share
        self._addresses: OrderedDict[str, OrderedDict[str, OrderedDict[T, None]]] = OrderedDict()
        self._sizes: dict[str, int] = {}  # items by address
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def push(self, address: str, name: str, item: T) -> T | None:
        """Add an item; return the item that lost its place to this one, or None if there was room.

        Raises:
            Full: there is no room, and no item can be removed. An item of another address is removed only if that
                address has at least two more items than this address. The same rule applies to the lanes of one
                address.
        """
        removed = self._make_room(address, name)
        self._addresses.setdefault(address, OrderedDict()).setdefault(name, OrderedDict())[item] = None
        self._sizes[address] = self._sizes.get(address, 0) + 1
        self._size += 1
        return removed

    def pop(self) -> T:
        """Remove and return the next item; its address and its lane go to the end of the line.

        Raises:
            IndexError: the queue is empty.
        """
        if not self._size:
            raise IndexError("pop from an empty queue")
        address, lanes = next(iter(self._addresses.items()))
        name, lane = next(iter(lanes.items()))
        item = next(iter(lane))
        self._addresses.move_to_end(address)
        lanes.move_to_end(name)
        self.discard(address, name, item)
        return item

    def discard(self, address: str, name: str, item: T) -> None:
        """Remove an item, if it is still there."""
        lanes = self._addresses.get(address, OrderedDict())
        lane = lanes.get(name, OrderedDict())
        if item not in lane:
            return
        del lane[item]
        self._size -= 1
        self._sizes[address] -= 1
        if not lane:
            del lanes[name]
        if not lanes:
            del self._addresses[address], self._sizes[address]

    def _make_room(self, address: str, name: str) -> T | None:
        own = self._sizes.get(address, 0)
        if own < self._share and self._size < self._places:
            return None
        loser = address if own >= self._share else max(self._sizes, key=self._sizes.__getitem__, default=address)
        lanes = self._addresses.get(loser, OrderedDict())
        longest = max(lanes, key=lambda found: len(lanes[found]), default=name)
        if loser == address:
            is_longer = len(lanes.get(longest, ())) > len(lanes.get(name, ())) + 1
        else:
            is_longer = self._sizes[loser] > own + 1
        if not is_longer:
            raise Full
        newest = next(reversed(lanes[longest]))
        self.discard(loser, longest, newest)
        return newest
