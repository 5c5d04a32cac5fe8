"""Which connections are closed: those whose client owes something for too long, and the first where room is needed."""

import socket

import pytest

from deployer.plugin.connections import LIMITS, Register, is_overdue, spare
from deployer.plugin.descriptors import LARGEST_RESERVE, MOST_CONNECTIONS, Listener, most_connections


class Connection:
    def __init__(self, wait, since):
        self.wait, self.since, self.ended = wait, since, False

    def waits(self, _now):
        return self.wait, self.since

    def end(self):
        self.ended = True


@pytest.mark.parametrize("wait", LIMITS)
def test_a_client_that_owes_nothing_has_no_deadline_and_every_other_has_its_own(wait):
    assert not is_overdue(wait, 100.0, 100.0 + min(LIMITS[wait], 1e9), LIMITS)
    assert is_overdue(wait, 100.0, 101.0 + min(LIMITS[wait], 1e9), LIMITS) is (wait != "nothing")


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([], None),
        ([("nothing", 0)], None),
        ([("body", 95), ("reading", 95)], None),  # they have moved in the last seconds
        ([("nothing", 0), ("reading", 60), ("body", 50)], 2),
        ([("body", 0), ("idle", 99)], 1),
        ([("idle", 0), ("head", 50), ("head", 40), ("head", 60)], 2),
        ([("idle", 50), ("idle", 40), ("nothing", 0)], 1),
        ([("head", 0), ("answered body", 90), ("closing", 99)], 2),
    ],
)
def test_the_oldest_that_serves_nobody_is_closed_first(found, chosen):
    assert spare(found, 100.0, 1) == ([] if chosen is None else [chosen])


def test_a_client_is_overdue_only_if_it_was_a_sweep_ago():
    """Where the process itself was slow, what the client has sent waits to be read."""
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


def test_room_is_made_for_as_many_as_are_wanted():
    register = Register(lambda: 100.0, LIMITS)
    idle = [Connection("head", since) for since in range(5)]
    for connection in (*idle, Connection("nothing", 0)):
        register.add(connection)
    assert register.make_room(2)
    assert [connection.ended for connection in idle] == [True, True, False, False, False]
    assert register.make_room(20)
    assert all(connection.ended for connection in idle)
    assert not register.make_room(1)
    assert len(register) == 1


@pytest.mark.parametrize(
    ("descriptors", "connections"),
    [(64, 32), (256, 128), (1024, 512), (4096, 4096 - LARGEST_RESERVE), (1 << 20, MOST_CONNECTIONS)],
)
def test_half_of_few_descriptors_and_a_part_of_many_are_kept_for_others(descriptors, connections):
    assert most_connections(descriptors) == connections


def test_above_its_limit_a_listener_closes_one_for_each_new_one_and_lets_the_loop_turn():
    class Full:
        asked = 0

        def __len__(self):
            return MOST_CONNECTIONS

        def make_room(self, count):
            self.asked += count
            return True

    full = Full()
    with socket.create_server(("127.0.0.1", 0)) as made:
        listener = Listener(fileno=made.detach(), connections=full)
    with listener, socket.create_connection(listener.getsockname()), socket.create_connection(listener.getsockname()):
        listener.settimeout(20)
        accepted = []
        for _ in range(2):
            accepted.append(listener.accept()[0])
            with pytest.raises(BlockingIOError):
                listener.accept()
        assert full.asked >= 2
        for connection in accepted:
            connection.close()
