import base64
import os
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.secrets.logins import MIN_PASSWORD, member_problem, password_problem, username_problem
from deployer.core.secrets.references import (
    ADMIN_PASSWORD,
    ADMIN_PENDING,
    ADMIN_USERNAME,
    FLASK_KEY,
    KEK_PASSPHRASE,
    S3_ACCESS_KEY,
    S3_SECRET_KEY,
    WEBHOOK_KEY,
    SecretRef,
    member_refs,
)
from deployer.core.secrets.values import (
    GENERATED,
    Secrets,
    add_missing,
    fingerprints,
    keys_fingerprint,
    modified_secrets,
    promoted,
)

from .strategies import hostile

REFERENCES = (ADMIN_USERNAME, *(need.ref for need in GENERATED))
values = st.dictionaries(st.sampled_from(REFERENCES), st.text())


def test_missing_secrets_are_generated_and_all_differ():
    made = add_missing(None, GENERATED, os.urandom, {ADMIN_USERNAME: "admin"})
    assert set(made.values) == set(REFERENCES)
    assert len(set(made.values.values())) == len(REFERENCES)
    assert made.username == "admin"
    assert made.password == made[ADMIN_PASSWORD]


@pytest.mark.parametrize("reference", [need.ref for need in GENERATED], ids=lambda ref: f"{ref.secret}/{ref.key}")
def test_generated_secrets_are_long_printable_ascii_that_mlflow_accepts(reference):
    value = add_missing(None, GENERATED, os.urandom, {})[reference]
    assert len(value) >= 24
    assert password_problem(value) is None


def test_the_webhook_key_is_a_fernet_key():
    key = add_missing(None, GENERATED, os.urandom, {})[WEBHOOK_KEY]
    assert len(base64.urlsafe_b64decode(key)) == 32


@given(existing=values, given_values=values)
def test_existing_secrets_are_never_changed(existing, given_values):
    result = add_missing(Secrets(existing), GENERATED, os.urandom, given_values)
    assert {ref: result[ref] for ref in existing} == existing
    assert all(result[ref] == value for ref, value in given_values.items() if ref not in existing)
    assert {need.ref for need in GENERATED} <= set(result.values)


@given(values)
def test_completing_twice_changes_nothing(existing):
    once = add_missing(Secrets(existing), GENERATED, os.urandom, {})
    assert add_missing(once, GENERATED, os.urandom, {}) == once


@pytest.mark.parametrize("password", ["x" * 12, "correct horse", "a\"b'c\\d#e%f:g", "password12345", "~" * 1024])
def test_a_password_that_every_route_accepts_is_accepted(password):
    assert password_problem(password) is None


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "the password is empty, MLflow needs at least 12"),
        ("x" * 1025, "at most 1024"),
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
    # the message for another password of the same shape: a short password may occur in it by chance, such as "MLfl"
    other = "".join("~" if " " < character <= "~" else "é" if character > "~" else character for character in password)
    assert password == "password1234" or password_problem(password) == password_problem(other)


@pytest.mark.parametrize("username", ["admin", "a", "a b", "x" * 128, "anna@example.org", "it's", '"', "%(x)s", "$(X)"])
def test_a_user_name_that_can_log_in_is_accepted(username):
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
def test_an_accepted_user_name_survives_basic_authentication(username):
    if username_problem(username) is None:
        header = base64.b64encode(f"{username}:secret".encode("latin-1"))
        assert base64.b64decode(header).decode("utf-8").split(":", 1)[0] == username


def test_the_minimum_length_of_passwords_is_that_of_mlflow():
    assert MIN_PASSWORD == 12


WHOLE = add_missing(None, GENERATED, os.urandom, {ADMIN_USERNAME: "admin"})
OTHERS = [ref for ref in REFERENCES if ref != KEK_PASSPHRASE]


def edited(ref, value):
    return Secrets({**WHOLE.values, ref: value})


def without(*refs):
    return Secrets({ref: value for ref, value in WHOLE.values.items() if ref not in refs})


def test_unchanged_secrets_are_not_modified():
    assert list(fingerprints(WHOLE)) == ["admin", "server"]
    assert modified_secrets(fingerprints(WHOLE), WHOLE) == ()
    assert modified_secrets(fingerprints(WHOLE), Secrets(dict(reversed(WHOLE.values.items())))) == ()


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda ref: f"{ref.secret}/{ref.key}")
@given(value=hostile)
def test_every_edit_of_any_value_is_reported(reference, value):
    if value != WHOLE[reference]:
        assert modified_secrets(fingerprints(WHOLE), edited(reference, value)) == (reference.secret,)


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda ref: f"{ref.secret}/{ref.key}")
def test_a_missing_value_is_reported(reference):
    assert modified_secrets(fingerprints(WHOLE), without(reference)) == (reference.secret,)


def test_a_missing_secret_is_reported():
    assert modified_secrets(fingerprints(WHOLE), None) == ("admin", "server")
    assert modified_secrets(fingerprints(WHOLE), without(ADMIN_USERNAME, ADMIN_PASSWORD)) == ("admin",)
    assert modified_secrets(fingerprints(WHOLE), Secrets({})) == ("server",)


def test_an_added_key_is_reported():
    assert modified_secrets(fingerprints(WHOLE), edited(SecretRef("admin", "previous"), "")) == ("admin",)


def test_swapped_values_are_reported():
    swapped = {FLASK_KEY: WHOLE[WEBHOOK_KEY], WEBHOOK_KEY: WHOLE[FLASK_KEY]}
    assert modified_secrets(fingerprints(WHOLE), Secrets({**WHOLE.values, **swapped})) == ("server",)


def test_a_changed_fingerprint_key_is_blamed_on_its_secret_only():
    both = Secrets({**WHOLE.values, KEK_PASSPHRASE: "other", ADMIN_PASSWORD: "other"})
    assert modified_secrets(fingerprints(WHOLE), both) == ("server",)


@pytest.mark.parametrize("there", [None, Secrets({}), WHOLE])
def test_secrets_without_a_fingerprint_are_not_modified(there):
    assert modified_secrets({}, there) == ()


@given(st.dictionaries(st.sampled_from(OTHERS), st.text(st.characters(codec="utf-8"), min_size=4)))
def test_a_fingerprint_reveals_no_value_and_needs_the_key(some):
    one, other = (Secrets({**WHOLE.values, **some, KEK_PASSPHRASE: key}) for key in ("k" * 32, "l" * 32))
    assert not set(fingerprints(one).values()) & set(fingerprints(other).values())
    for fingerprint in fingerprints(one).values():
        assert len(fingerprint) == 32
        assert not [value for value in one.values.values() if value in fingerprint]


def test_secrets_with_equal_values_have_different_fingerprints():
    same = Secrets({SecretRef("admin", "a"): "x", SecretRef("server", "a"): "x", KEK_PASSPHRASE: "k" * 32})
    assert len(set(fingerprints(same).values())) == 2


S3 = {S3_ACCESS_KEY: "access", S3_SECRET_KEY: "secret"}


def test_keys_of_external_services_have_no_fingerprint():
    made = add_missing(None, GENERATED, os.urandom, {ADMIN_USERNAME: "admin"})
    assert fingerprints(Secrets({**made.values, **S3})) == fingerprints(made)


def test_a_separate_fingerprint_changes_with_the_keys_of_external_services():
    made = add_missing(None, GENERATED, os.urandom, {ADMIN_USERNAME: "admin"})
    assert keys_fingerprint(made) is None
    first = keys_fingerprint(Secrets({**made.values, **S3}))
    assert first
    assert first == keys_fingerprint(Secrets({**made.values, **S3, ADMIN_PASSWORD: "another"}))
    assert first != keys_fingerprint(Secrets({**made.values, **S3, S3_SECRET_KEY: "other"}))
    assert first != keys_fingerprint(Secrets({**made.values, **S3, KEK_PASSPHRASE: "other"}))


users = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=128)


@given(users, users)
def test_each_member_s_password_has_its_own_valid_key_in_a_kubernetes_secret(one, other):
    for ref in member_refs(one):
        assert set(ref.key) <= set(string.ascii_letters + string.digits + "-_.")
        assert len(ref.key) <= 253 or member_problem(one)
    assert len({*member_refs(one), *member_refs(other)}) == (2 if one == other else 4)
    assert not {*member_refs(one)} & {ADMIN_PASSWORD, ADMIN_PENDING, ADMIN_USERNAME}


def test_a_member_name_that_cannot_be_stored_is_refused_with_the_reason():
    assert member_problem("anna@uni.example") is None
    assert "':'" in member_problem("a:b")
    assert "no letters or digits" in member_problem("@" * 128)


STAGED = edited(ADMIN_PENDING, "n" * 32)


def test_secrets_match_their_fingerprints_at_every_instant_of_a_rotation():
    before, after = fingerprints(WHOLE), fingerprints(promoted(STAGED))
    assert after["admin"] != before["admin"]
    moments = [(before, WHOLE), (before, STAGED), (after, STAGED), (after, promoted(STAGED))]
    assert [modified_secrets(expected, there) for expected, there in moments] == [()] * 4
    assert modified_secrets(before, promoted(STAGED)) == ("admin",)
    assert modified_secrets(after, WHOLE) == ("admin",)


def test_promotion_takes_the_pending_password_and_changes_nothing_else():
    assert promoted(WHOLE) == WHOLE
    done = promoted(STAGED)
    assert done.password == "n" * 32
    assert set(done.values) == set(WHOLE.values)


def test_passwords_of_members_have_no_fingerprint():
    kept = Secrets({**WHOLE.values, **dict.fromkeys(member_refs("anna"), "a password")})
    assert fingerprints(kept) == fingerprints(WHOLE)
