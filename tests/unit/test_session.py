"""How long a request waits before it is sent again."""

import datetime
import email.utils

import pytest

from deployer.kube.session import pause


@pytest.mark.parametrize(
    ("asked", "least", "most"), [("0", 0.2, 0.5), ("1", 1, 1.3), ("60", 60, 60.3), (" 7 ", 7, 7.3)]
)
def test_a_request_waits_the_seconds_that_a_server_asks_for(asked, least, most):
    assert least <= pause(9, asked) <= most


def test_a_request_waits_until_the_date_that_a_server_asks_for():
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=30)
    assert 28 <= pause(0, email.utils.format_datetime(later, usegmt=True)) <= 31
    assert pause(0, email.utils.format_datetime(later - datetime.timedelta(hours=1), usegmt=True)) < 0.5


@pytest.mark.parametrize("asked", [None, "", "soon", "-5", "1e3"])
def test_without_a_time_each_pause_is_longer_up_to_five_seconds(asked):
    pauses = [pause(attempt, asked) for attempt in range(8)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.2, 5.0)
