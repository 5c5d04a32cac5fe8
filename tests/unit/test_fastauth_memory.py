"""User data within one request: read once until a change, and not reused in the next request."""

import asyncio

import pytest

from deployer.plugin.auth import request_cache
from deployer.plugin.auth.logins import Logins
from deployer.plugin.auth.verified_passwords import Verified


class Store:
    """The part of MLflow's store that these tests need; counts its reads."""

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


class User:
    """A user as MLflow stores it, with the password "abc"."""

    password_hash = "cba"


class Wrapped(Store):
    get_user = request_cache._user_of_the_request(Store.get_user)
    list_grants = request_cache._grants_of_the_request(Store.list_grants, None, known=False)
    update_user = request_cache._forgets(Store.update_user)


@pytest.fixture
def logins():
    made = Logins(None, Verified(lambda stored, password: stored == password[::-1]), "nobody's")
    made.look_up = lambda _username: pytest.fail("nothing is asked of the database here")
    made.begin_anew()
    yield made
    request_cache.current.set(None)


def served(logins, user):
    """Begin a request with this user, and serve it."""
    logins.record(user, "anna", "abc", accepted=True)
    request_cache.current.get().confirm(True, user)


def test_before_a_request_is_served_its_recorded_user_answers_only_one_read(logins):
    store = Wrapped()
    logins.record("anna herself", "anna", "abc", accepted=True)
    assert [store.get_user("anna") for _ in range(3)] == ["anna herself", "anna read 1", "anna read 2"]


def test_the_user_and_their_grants_are_read_once(logins):
    store = Wrapped()
    served(logins, "anna herself")
    assert [store.get_user("anna") for _ in range(3)] == ["anna herself"] * 3
    assert [store.list_grants(1, "default", types) for types in (["a", "b"], ["b", "a"])] == [[1], [1]]
    assert store.reads == [["a", "b"]]


def test_other_users_are_read_each_time(logins):
    store = Wrapped()
    served(logins, "anna herself")
    assert [store.get_user("bert") for _ in range(2)] == ["bert read 1", "bert read 2"]


@pytest.mark.parametrize("fail", [False, True])
def test_user_and_grants_are_read_again_after_a_successful_or_failed_change(logins, fail):
    store = Wrapped()
    served(logins, "anna herself")
    store.list_grants(1, "default", ["a"])
    try:
        store.update_user("anna", fail=fail)
    except ValueError:
        assert fail
    assert store.get_user("anna") == "anna read 2"
    assert store.list_grants(1, "default", ["a"]) == [3]


def test_a_refused_user_is_not_remembered(logins):
    store = Wrapped()
    logins.record("anna herself", "anna", "wrong", accepted=False)
    logins.look_up = lambda _username: User()
    assert logins.authenticate("anna", "wrong") is False
    assert [store.get_user("anna") for _ in range(2)] == ["anna read 1", "anna read 2"]


def test_the_next_request_remembers_nothing_of_the_request_before(logins):
    store = Wrapped()
    logins.record("anna herself", "anna", "abc", accepted=True)
    logins.begin_anew()
    assert store.get_user("anna") == "anna read 1"
    assert logins.authenticate("anna", "abc") is False


@pytest.mark.parametrize("found", [True, False], ids=["found out", "left to it"])
def test_a_login_is_looked_up_once_when_it_is_served(logins, found):
    user = User()
    if found:
        logins.record("as she was before", "anna", "abc", accepted=True)
    else:
        logins.defer("anna", "abc")
    logins.look_up = lambda _username: user
    assert logins.is_authenticated() is found
    assert logins.authenticate("anna", "abc") is True
    assert logins.is_authenticated() is True
    assert request_cache.current.get().user is user
    logins.look_up = lambda _username: None
    assert logins.authenticate("anna", "abc") is True


@pytest.mark.parametrize("found", [True, False], ids=["found out", "left to it"])
def test_a_user_deleted_before_the_request_is_served_is_refused(logins, found):
    if found:
        logins.record("as she was before", "anna", "abc", accepted=True)
    else:
        logins.defer("anna", "abc")
    logins.look_up = lambda _username: None
    assert logins.authenticate("anna", "abc") is False
    assert logins.is_authenticated() is False
    assert request_cache.current.get().user is None


def test_a_request_has_one_login_that_may_be_checked_again(logins):
    logins.record(User(), "anna", "abc", accepted=True)
    assert logins.authenticate("bert", "abc") is False
    logins.look_up = lambda _username: User()
    assert [logins.authenticate("anna", password) for password in ("abc", "guess", "abc")] == [True, False, True]
    logins.record(None, "anna", "wrong", accepted=False)
    assert logins.authenticate("anna", "abc") is False


def test_outside_of_requests_passwords_are_checked(logins):
    request_cache.current.set(None)
    logins.look_up = lambda _username: User()
    assert [logins.authenticate("anna", password) for password in ("abc", "guess")] == [True, False]


def test_missing_or_unusable_credentials_are_refused(logins):
    assert [logins.authenticate(*login) for login in ((None, None), ("anna", None), (None, "abc"))] == [False] * 3
    assert Logins(None, None, "").look_up("an\0na") is None


def test_no_new_password_is_checked_on_the_event_loop(logins):
    async def asked():
        return logins.authenticate("anna", "abc")

    logins.look_up = lambda _username: pytest.fail("it would make everybody wait")
    assert asyncio.run(asked()) is False
    logins.record("anna herself", "anna", "abc", accepted=True)
    assert asyncio.run(asked()) is True
