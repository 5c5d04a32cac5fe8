"""The memory of checked passwords: its content, and the number of checks at once."""

import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.plugin.auth.throttle import Throttle
from deployer.plugin.auth.verified_passwords import Verified


class Check:
    """A slow comparison that records its calls; the stored hash of a password is its reverse."""

    def __init__(self, gate=None):
        self.calls = []
        self.at_once = self.most = 0
        self._lock = threading.Lock()
        self._gate = gate

    def __call__(self, stored, password):
        with self._lock:
            self.calls.append((stored, password))
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        if self._gate:
            assert self._gate.wait(20)
        with self._lock:
            self.at_once -= 1
        return stored == password[::-1]


def test_a_right_or_wrong_password_is_checked_once():
    check = Check()
    verified = Verified(check)
    assert verified.known("anna", "cba", "abc") is None
    assert [verified.matches("anna", "cba", "abc") for _ in range(3)] == [True] * 3
    assert [verified.matches("anna", "cba", "other") for _ in range(2)] == [False] * 2
    assert len(check.calls) == 2
    assert (verified.known("anna", "cba", "abc"), verified.known("anna", "cba", "other")) == (True, False)


def test_a_checked_password_is_remembered_for_its_user_only():
    check = Check()
    verified = Verified(check)
    assert verified.matches("anna", "cba", "abc")
    assert verified.known("bert", "cba", "abc") is None


def test_a_password_that_was_right_once_is_remembered():
    verified = Verified(Check())
    assert not verified.was_right("anna", "abc")
    assert verified.matches("anna", "cba", "abc")
    assert not verified.matches("anna", "fed", "abc")
    assert verified.was_right("anna", "abc")
    assert not verified.was_right("bert", "abc")
    assert not verified.was_right("anna", "other")


def test_wrong_passwords_do_not_evict_right_passwords():
    check = Check()
    verified = Verified(check, size=3)
    assert verified.matches("anna", "cba", "abc")
    for number in range(20):
        assert not verified.matches("anna", "cba", f"guess {number}")
    assert verified.known("anna", "cba", "abc") is True
    assert [verified.known("anna", "cba", f"guess {number}") for number in (16, 17)] == [None, False]


def test_a_changed_hash_is_a_miss_at_once():
    verified = Verified(Check())
    assert verified.matches("anna", "cba", "abc")
    assert not verified.matches("anna", "fed", "abc")
    assert verified.matches("anna", "cba", "abc")


def test_without_a_known_hash_only_right_passwords_are_remembered():
    passwords = {"anna": "abc"}
    check = Check()
    verified = Verified(lambda user, password: check(passwords[user][::-1], password), keep_wrong=False)
    assert [verified.matches("anna", "anna", "new") for _ in range(2)] == [False] * 2
    assert verified.known("anna", "anna", "new") is None
    passwords["anna"] = "new"
    assert [verified.matches("anna", "anna", "new") for _ in range(2)] == [True] * 2
    assert len(check.calls) == 3
    assert verified.known("anna", "anna", "new") is True


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3))
def test_only_the_same_texts_have_the_same_digest(texts, others):
    verified = Verified(Check())
    assert (verified.digest(*texts) == verified.digest(*others)) is (texts == others)
    assert verified.digest(*texts) != Verified(Check()).digest(*texts)


def test_the_oldest_pair_is_forgotten():
    check = Check()
    verified = Verified(check, size=2)
    for password in ("aa", "bb", "aa", "cc"):
        verified.matches("anna", password[::-1], password)
    check.calls.clear()
    assert [verified.matches("anna", p, p) for p in ("aa", "cc", "bb")] == [True] * 3
    assert [password for _, password in check.calls] == ["bb"]


def test_the_memory_contains_no_password():
    verified = Verified(Check())
    verified.matches("anna", "terces-drowssap", "password-secret")
    assert "password-secret" not in repr(vars(verified))


def together(verified, passwords):
    answers = [None] * len(passwords)

    def ask(number):
        answers[number] = verified.matches("anna", passwords[number][::-1], passwords[number])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(passwords))]
    for thread in threads:
        thread.start()
    return threads, answers


@pytest.mark.parametrize("passwords", [["one"] * 20, [f"password {n}" for n in range(20)]], ids=["same", "different"])
def test_at_most_two_checks_run_at_once_and_equal_checks_are_shared(passwords):
    gate = threading.Event()
    check = Check(gate)
    threads, answers = together(Verified(check, at_once=2), passwords)
    wanted = min(2, len(set(passwords)))
    until = time.monotonic() + 20
    while check.at_once < wanted and time.monotonic() < until:
        time.sleep(0.01)
    gate.set()
    for thread in threads:
        thread.join(20)
    assert answers == [True] * 20
    assert len(check.calls) == len(set(passwords))
    assert check.most <= 2


def test_an_exception_accepts_no_password_and_is_not_remembered():
    answers = [RuntimeError("out of memory"), True]

    def check(_stored, _password):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    verified = Verified(check)
    with pytest.raises(RuntimeError):
        verified.matches("anna", "a", "b")
    assert verified.matches("anna", "a", "b") is True


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def test_the_first_guesses_are_free_and_later_guesses_are_slowed():
    clock = Clock()
    throttle = Throttle(burst=3, seconds=5, clock=clock)
    assert [throttle.take("anna") for _ in range(4)] == [0, 0, 0, 5]
    clock.now += 4
    assert throttle.take("anna") == pytest.approx(1)
    clock.now += 1
    assert [throttle.take("anna") for _ in range(2)] == [0, 5]
    clock.now += 3600
    assert [throttle.take("anna") for _ in range(4)] == [0, 0, 0, 5]


def test_the_budget_for_guesses_is_as_documented():
    throttle = Throttle(clock=Clock())
    assert [throttle.take("anna") for _ in range(21)] == [0] * 20 + [5]


def test_one_guesser_does_not_slow_another():
    throttle = Throttle(burst=1, seconds=5, clock=Clock())
    assert [throttle.take(("anna", "10.0.0.1")) for _ in range(2)] == [0, 5]
    assert [throttle.take(other) for other in (("anna", "10.0.0.2"), ("bert", "10.0.0.1"))] == [0, 0]


def test_the_budget_is_given_back_if_a_login_was_no_guess():
    throttle = Throttle(burst=1, seconds=5, clock=Clock())
    for _ in range(10):
        assert throttle.take("anna") == 0
        throttle.give_back("anna")
    throttle.give_back("nobody")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 20)), max_size=60))
def test_guesses_never_exceed_the_burst_and_the_rate(steps):
    clock, taken = Clock(), {"a": [], "b": []}
    throttle = Throttle(burst=4, seconds=5, clock=clock)
    for key, pause in steps:
        clock.now += pause
        if not throttle.take(key):
            taken[key].append(clock.now)
    for times in taken.values():
        for first, last in ((i, j) for i in range(len(times)) for j in range(i, len(times))):
            assert last - first + 1 <= 4 + (times[last] - times[first]) / 5 + 1e-6


def test_forked_processes_share_the_budget():
    throttle = Throttle(burst=3, seconds=1e6)
    for _ in range(2):
        pid = os.fork()
        if not pid:
            os._exit(int(throttle.take("anna") != 0))
        assert os.waitpid(pid, 0)[1] == 0
    assert [throttle.take("anna") > 0 for _ in range(2)] == [False, True]


def test_forked_processes_share_the_memory_of_right_passwords():
    verified = Verified(lambda stored, password: stored == password)
    pid = os.fork()
    if not pid:
        os._exit(int(not verified.matches("anna", "abc", "abc")))
    assert os.waitpid(pid, 0)[1] == 0
    asked = [("anna", "abc"), ("anna", "wrong"), ("bert", "abc")]
    assert [verified.verified_by_any_worker(*login) for login in asked] == [True, False, False]
    assert not verified.was_right("anna", "abc")
