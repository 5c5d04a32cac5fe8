import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core import secrets
from deployer.core.secrets import (
    ADMIN_PASSWORD,
    ADMIN_USERNAME,
    GENERATED,
    WEBHOOK_KEY,
    Secrets,
    complete,
    password_problem,
    username_problem,
)

from .strategies import hostile

REFERENCES = (ADMIN_USERNAME, *(need.ref for need in GENERATED))
values = st.dictionaries(st.sampled_from(REFERENCES), st.text())


def test_everything_missing_is_made_and_no_two_are_alike():
    made = complete(None, GENERATED, os.urandom, {ADMIN_USERNAME: "admin"})
    assert set(made.values) == set(REFERENCES)
    assert len(set(made.values.values())) == len(REFERENCES)
    assert made.username == "admin"
    assert made.password == made[ADMIN_PASSWORD]


@pytest.mark.parametrize("reference", [need.ref for need in GENERATED], ids=lambda ref: f"{ref.secret}/{ref.key}")
def test_what_is_made_is_long_printable_ascii_that_mlflow_takes(reference):
    value = complete(None, GENERATED, os.urandom, {})[reference]
    assert len(value) >= 24
    assert password_problem(value) is None


def test_the_webhook_key_is_a_fernet_key():
    key = complete(None, GENERATED, os.urandom, {})[WEBHOOK_KEY]
    assert len(base64.urlsafe_b64decode(key)) == 32


@given(existing=values, given_values=values)
def test_what_exists_is_never_changed(existing, given_values):
    result = complete(Secrets(existing), GENERATED, os.urandom, given_values)
    assert {ref: result[ref] for ref in existing} == existing
    assert all(result[ref] == value for ref, value in given_values.items() if ref not in existing)
    assert {need.ref for need in GENERATED} <= set(result.values)


@given(values)
def test_completing_twice_changes_nothing(existing):
    once = complete(Secrets(existing), GENERATED, os.urandom, {})
    assert complete(once, GENERATED, os.urandom, {}) == once


@pytest.mark.parametrize("password", ["x" * 12, "correct horse", "a\"b'c\\d#e%f:g", "password12345", "~" * 200])
def test_a_password_that_every_route_takes_is_taken(password):
    assert password_problem(password) is None


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "at least 12"),
        ("x" * 11, "has 11 characters"),
        ("pässword-long", "printable ASCII"),
        ("tab\tinside-it", "printable ASCII"),
        ("newline\ninside", "printable ASCII"),
        ("a" * 12 + "\x7f", "printable ASCII"),
        (" leading-blank", "begins or ends with a space"),
        ("trailing-blank ", "begins or ends with a space"),
        ("password1234", "older versions shipped it"),
    ],
)
def test_a_password_that_fails_somewhere_is_refused_with_the_reason(password, reason):
    assert reason in password_problem(password)


@given(st.text(st.characters(categories=["L", "P", "S", "Zs"]), min_size=4))
def test_a_refused_password_is_never_quoted(password):
    reason = password_problem(password)
    assert reason is None or password == "password1234" or password not in reason


@pytest.mark.parametrize("username", ["admin", "a", "a b", "x" * 128, "anna@example.org", "it's", '"', "%(x)s", "$(X)"])
def test_a_user_name_that_can_log_in_is_taken(username):
    assert username_problem(username) is None


@pytest.mark.parametrize(
    ("username", "reason"),
    [
        ("", "must not be empty"),
        (" admin", "begin or end with a space"),
        ("admin\n", "begin or end with a space"),
        ("x" * 129, "128"),
        ("a:b", "':'"),
        ("päivi", "printable ASCII"),
        ("a\tb", "printable ASCII"),
        ("a\x00b", "printable ASCII"),
    ],
)
def test_a_user_name_that_cannot_log_in_is_refused_with_the_reason(username, reason):
    assert reason in username_problem(username)


@given(hostile)
def test_a_user_name_that_is_taken_survives_basic_authentication(username):
    if username_problem(username) is None:
        header = base64.b64encode(f"{username}:secret".encode("latin-1"))
        assert base64.b64decode(header).decode("utf-8").split(":", 1)[0] == username


def test_the_shortest_password_is_the_one_mlflow_names():
    assert secrets.MIN_PASSWORD == 12
