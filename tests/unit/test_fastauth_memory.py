"""What one request has read of its user: once, until something changes, and nothing of the request before."""

import asyncio

import pytest

from deployer.plugin import fastauth_memory
from deployer.plugin.fastauth import Logins
from deployer.plugin.fastauth_checks import Verified


class Store:
    """As much of MLflow's store as is asked here; counts what is read."""

    def __init__(self):
        self.reads = []

    def get_user(self, username):
        self.reads.append(username)
        return f"{username} read {len(self.reads)}"

    def list_grants(self, user_id, workspace, resource_types):
        self.reads.append(sorted(resource_types))
        return [len(self.reads)]

    def update_user(self, username, fail=False):
        if fail:
            raise ValueError(username)


class Wrapped(Store):
    get_user = fastauth_memory._user_of_the_request(Store.get_user)
    list_grants = fastauth_memory._grants_of_the_request(Store.list_grants, None)
    update_user = fastauth_memory._forgets(Store.update_user)


@pytest.fixture
def logins():
    made = Logins(None, Verified(lambda stored, password: stored == password[::-1]), fastauth_memory, "nobody's")
    made.begin_anew()
    yield made
    made.begin_anew()


def test_the_user_and_their_grants_are_read_once(logins):
    store = Wrapped()
    logins.begin("anna herself", "anna", "abc", accepted=True)
    assert [store.get_user("anna") for _ in range(3)] == ["anna herself"] * 3
    assert [store.list_grants(1, "default", types) for types in (["a", "b"], ["b", "a"])] == [[1], [1]]
    assert store.reads == [["a", "b"]]


def test_others_are_read_each_time(logins):
    store = Wrapped()
    logins.begin("anna herself", "anna", "abc", accepted=True)
    assert [store.get_user("bert") for _ in range(2)] == ["bert read 1", "bert read 2"]


@pytest.mark.parametrize("fail", [False, True])
def test_after_a_change_they_are_read_anew_whether_it_went_well_or_not(logins, fail):
    store = Wrapped()
    logins.begin("anna herself", "anna", "abc", accepted=True)
    store.list_grants(1, "default", ["a"])
    try:
        store.update_user("anna", fail=fail)
    except ValueError:
        assert fail
    assert store.get_user("anna") == "anna read 2"
    assert store.list_grants(1, "default", ["a"]) == [3]


def test_nothing_is_remembered_of_who_was_not_let_in(logins):
    store = Wrapped()
    logins.begin("anna herself", "anna", "wrong", accepted=False)
    assert logins.authenticate("anna", "wrong") is False
    assert [store.get_user("anna") for _ in range(2)] == ["anna read 1", "anna read 2"]


def test_the_next_request_knows_nothing_of_the_one_before(logins):
    store = Wrapped()
    logins.begin("anna herself", "anna", "abc", accepted=True)
    assert logins.authenticate("anna", "abc") is True
    logins.begin_anew()
    assert store.get_user("anna") == "anna read 1"
    logins.look_up = lambda _username: None
    assert logins.authenticate("anna", "abc") is False


def test_what_is_no_password_is_none(logins):
    assert [logins.authenticate(*login) for login in ((None, None), ("anna", None), (None, "abc"))] == [False] * 3
    assert logins.look_up("an\0na") is None


def test_on_the_event_loop_nobody_is_checked_who_was_not_before(logins):
    async def asked():
        return logins.authenticate("anna", "abc")

    logins.look_up = lambda _username: pytest.fail("it would make everybody wait")
    assert asyncio.run(asked()) is False
    logins.begin("anna herself", "anna", "abc", accepted=True)
    assert asyncio.run(asked()) is True
