"""Which item is served next, and which item makes room in a full queue."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.plugin.auth.fair_queue import FairQueue, Full


def filled(queue, *items):
    for address, name, item in items:
        assert queue.push(address, name, item) is None
    return queue


def drained(queue):
    return [queue.pop() for _ in range(len(queue))]


def test_addresses_take_turns_and_so_do_the_names_of_each_address():
    queue = filled(
        FairQueue(20, 20),
        ("a", "x", "ax1"),
        ("a", "x", "ax2"),
        ("a", "x", "ax3"),
        ("a", "y", "ay1"),
        ("b", "x", "bx1"),
        ("b", "x", "bx2"),
    )
    assert drained(queue) == ["ax1", "bx1", "ay1", "bx2", "ax2", "ax3"]
    with pytest.raises(IndexError):
        queue.pop()


def test_an_address_has_a_bounded_share_and_others_have_room():
    queue = FairQueue(10, 3)
    filled(queue, *[("a", "x", number) for number in range(3)])
    with pytest.raises(Full):
        queue.push("a", "x", 3)
    assert queue.push("b", "x", "other") is None
    assert drained(queue) == [0, "other", 1, 2]


def test_a_name_without_an_item_takes_room_from_the_longest_lane_of_its_address():
    queue = filled(FairQueue(10, 3), *[("a", "x", number) for number in range(3)], ("b", "x", "other"))
    assert queue.push("a", "y", "new") == 2  # the newest item
    assert queue.push("a", "z", "newer") == 1
    with pytest.raises(Full):
        queue.push("a", "w", "too much")  # no lane is longer than the lane of this item would be
    assert drained(queue) == [0, "other", "new", "newer"]


def test_a_full_queue_takes_room_from_the_address_with_the_most_items():
    queue = filled(FairQueue(4, 4), *[("a", "x", number) for number in range(3)], ("b", "x", "b"))
    assert queue.push("c", "x", "c") == 2
    with pytest.raises(Full):
        queue.push("a", "x", "more of the longest")
    assert queue.push("d", "x", "d") == 1
    with pytest.raises(Full):
        queue.push("e", "x", "no address has more")
    assert drained(queue) == [0, "b", "c", "d"]


def test_a_queue_without_places_accepts_nothing():
    with pytest.raises(Full):
        FairQueue(0, 0).push("a", "x", 1)


def test_a_removed_item_is_not_served():
    queue = filled(FairQueue(9, 9), ("a", "x", 1), ("a", "x", 2), ("b", "y", 3))
    for item in (("a", "x", 1), ("a", "x", 1), ("b", "y", 3), ("c", "z", 9)):
        queue.discard(*item)
    assert len(queue) == 1
    assert drained(queue) == [2]


STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.booleans()), max_size=200)


@given(STEPS)
def test_the_queue_never_exceeds_its_limits_and_loses_nothing(steps):
    queue, held = FairQueue(12, 6), {}
    for number, (address, name, takes) in enumerate(steps):
        if takes and len(queue):
            del held[queue.pop()]
            continue
        try:
            removed = queue.push(address, name, number)
        except Full:
            assert len(queue) == 12 or Counter(found for found, _ in held.values())[address] == 6
            continue
        held[number] = (address, name)
        if removed is not None:
            del held[removed]
        assert len(queue) == len(held) <= 12
        assert max(Counter(found for found, _ in held.values()).values()) <= 6
    assert sorted(drained(queue)) == sorted(held)
