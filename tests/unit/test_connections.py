"""The server closes connections that wait too long, and others if it needs room."""

import os
import resource
import socket
from contextlib import ExitStack, contextmanager

import pytest

from deployer.plugin.serving.connections import BURST, LIMITS, MOST_HOLDING, Found, Register, is_overdue, spare
from deployer.plugin.serving.descriptors import LARGEST_RESERVE, MOST_CONNECTIONS, Listener, most_connections


class Connection:
    def __init__(self, wait, since, authenticated=False, rate=0.0, left=False):
        self.wait, self.since, self.authenticated, self.rate, self.left = wait, since, authenticated, rate, left
        self.ended = False

    def waits(self, _now):
        return self.wait, self.since

    def progress(self, _now):
        return self.authenticated, self.rate

    def has_left(self):
        return self.left

    def end(self):
        self.ended = True


@pytest.mark.parametrize("wait", LIMITS)
def test_only_a_connection_that_waits_for_its_client_has_a_deadline(wait):
    assert not is_overdue(wait, 100.0, 100.0 + min(LIMITS[wait], 1e9), LIMITS)
    assert is_overdue(wait, 100.0, 101.0 + min(LIMITS[wait], 1e9), LIMITS) is (wait != "nothing")


def test_the_deadlines_are_as_documented():
    assert (LIMITS["head"], LIMITS["body"], LIMITS["reading"]) == (30, 60, 300)


AUTHENTICATED = True


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([], None),
        ([("nothing", 0, AUTHENTICATED)], None),
        (
            [("body", 95, AUTHENTICATED, 1.0), ("reading", 95, AUTHENTICATED, 2.0), ("nothing", 0)],
            None,
        ),  # the server works for all of them
        ([("nothing", 0, AUTHENTICATED), ("reading", 60, AUTHENTICATED), ("body", 50, AUTHENTICATED)], 2),
        ([("body", 0), ("idle", 99)], 1),
        ([("idle", 0), ("head", 50), ("head", 40), ("head", 60)], 2),
        ([("idle", 50), ("idle", 40), ("nothing", 0)], 1),
        ([("head", 0), ("answered body", 90), ("closing", 99)], 2),
        ([("body", 99, False, 3.0), ("reading", 99, False, 2.0), ("body", 0, AUTHENTICATED, 0.1)], 1),
    ],
)
def test_connections_without_a_request_are_closed_first_then_the_slowest_stranger(found, chosen):
    assert spare([Found(*one) for one in found], 100.0, 1, 0) == ([] if chosen is None else [chosen])


def test_served_connections_are_closed_only_as_needed_and_logged_in_users_last():
    slow, fast = Found("body", 99, AUTHENTICATED, 1.0), Found("body", 99, AUTHENTICATED, 9.0)
    waits, works = Found("nothing", 100, False, 0.1), Found("nothing", 100, AUTHENTICATED)
    found = [works, fast, slow, waits]
    assert spare(found, 100.0, 8, 0) == []
    assert spare(found, 100.0, 8, 1) == [3]
    assert spare(found, 100.0, 8, 8) == [3, 2, 1]
    assert spare([*found, Found("idle", 0), Found("body", 99, False, 1.0)], 100.0, 8, 1) == [4, 5]


def test_a_sweep_closes_connections_whose_client_has_left():
    register = Register(lambda: 0.0, LIMITS)
    left, here = Connection("nothing", 0.0, left=True), Connection("nothing", 0.0)
    for connection in (left, here):
        register.add(connection)
    register.sweep()
    assert (left.ended, here.ended) == (True, False)


def test_a_connection_is_closed_only_if_two_sweeps_find_it_overdue():
    """If the process itself was slow, the client's data may still wait to be read."""
    now = [0.0]
    register = Register(lambda: now[0], LIMITS)
    late, heard = Connection("head", 0.0), Connection("head", 0.0)
    for connection in (late, heard):
        register.add(connection)
    now[0] = LIMITS["head"] + 1
    register.sweep()
    assert not late.ended
    heard.wait = "nothing"
    register.sweep()
    assert (late.ended, heard.ended) == (True, False)


def test_make_room_closes_the_requested_number_of_connections():
    register = Register(lambda: 100.0, LIMITS)
    idle = [Connection("head", since) for since in range(5)]
    for connection in (*idle, Connection("nothing", 0, AUTHENTICATED)):
        register.add(connection)
    assert register.make_room(2)
    assert [connection.ended for connection in idle] == [True, True, False, False, False]
    assert register.make_room(20)
    assert all(connection.ended for connection in idle)
    assert not register.make_room(1)
    assert len(register) == 1


def test_too_many_connections_that_hold_memory_close_the_oldest_without_a_login():
    register = Register(lambda: 0.0, LIMITS)
    first, authenticated, third = (
        Connection("nothing", 0.0),
        Connection("nothing", 0.0, AUTHENTICATED),
        Connection("nothing", 0.0),
    )
    for connection in (first, authenticated, third, *(Connection("nothing", 0.0) for _ in range(MOST_HOLDING - 3))):
        register.hold(connection)
        register.hold(connection)  # a second call does not count
    assert not first.ended
    for _ in range(3):
        register.hold(Connection("nothing", 0.0))
    assert (first.ended, authenticated.ended, third.ended) == (True, False, True)


def test_a_connection_that_has_released_its_memory_is_not_counted():
    register = Register(lambda: 0.0, LIMITS)
    for _ in range(2 * MOST_HOLDING):
        connection = Connection("nothing", 0.0)
        register.hold(connection)
        register.release(connection)
        assert not connection.ended


def test_freed_memory_is_returned_once_after_each_burst():
    register = Register(lambda: 0.0, LIMITS)
    for _ in range(2):
        assert not register.burst_has_ended()
        burst = [Connection("nothing", 0.0) for _ in range(BURST)]
        for connection in burst:
            register.hold(connection)
            assert not register.burst_has_ended()
        for connection in burst[1:]:
            register.release(connection)
        assert not register.burst_has_ended()
        register.discard(burst[0])
        assert register.burst_has_ended()


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(64, 32), (256, 128), (1024, 512), (4096, 4096 - LARGEST_RESERVE), (1 << 20, MOST_CONNECTIONS)],
)
def test_the_connection_limit_leaves_descriptors_for_other_uses(descriptors, connections):
    assert most_connections(descriptors) == connections


class Full:
    """A register at its limit; `room` tells whether it can close a connection."""

    def __init__(self, room):
        self.count, self.room, self.asked = MOST_CONNECTIONS, room, 0

    def __len__(self):
        return self.count

    def make_room(self, count, needed=0):
        self.asked += needed
        self.count -= needed if self.room else 0
        return self.room


@contextmanager
def full_listener(full):
    with socket.create_server(("127.0.0.1", 0)) as made:
        listener = Listener(fileno=made.detach(), connections=full)
    with listener, ExitStack() as clients:
        for _ in range(2):
            clients.enter_context(socket.create_connection(listener.getsockname()))
        listener.settimeout(20)
        yield listener


def test_a_listener_at_its_limit_closes_one_connection_for_each_new_connection():
    full = Full(room=True)
    with full_listener(full) as listener:
        for number in (1, 2):
            connection, _ = listener.accept()
            full.count += 1
            connection.close()
            with pytest.raises(BlockingIOError):
                listener.accept()
            assert (full.asked, full.count) == (number, MOST_CONNECTIONS)
        full.count += 1
        with pytest.raises(BlockingIOError):  # no client waits, so no connection is closed
            listener.accept()
        assert full.asked == 2


def test_a_listener_without_room_accepts_nobody_and_fails_once_per_event_loop_turn():
    full = Full(room=False)
    with full_listener(full) as listener:
        for _ in range(2):
            with pytest.raises(OSError, match="all connections serve somebody"):
                listener.accept()
            with pytest.raises(BlockingIOError):
                listener.accept()
        full.count -= 1
        listener.accept()[0].close()


def test_without_free_descriptors_accept_fails_once_per_event_loop_turn():
    full = Full(room=False)
    full.count = 0
    with full_listener(full) as listener:
        usual, lowest = resource.getrlimit(resource.RLIMIT_NOFILE), os.dup(0)
        os.close(lowest)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, usual[1]))
            for _ in range(2):
                with pytest.raises(OSError, match="Too many open files"):
                    listener.accept()
                with pytest.raises(BlockingIOError):
                    listener.accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)
