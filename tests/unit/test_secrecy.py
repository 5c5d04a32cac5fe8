"""No value that may be printed contains a secret."""

import json
import os
import traceback

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.errors import InvalidSpec
from deployer.core.file_formats import Unrepresentable, ini_value
from deployer.core.secrets.references import ADMIN_USERNAME
from deployer.core.secrets.values import GENERATED, Secrets, add_missing
from deployer.core.spec.document import parse, validate
from deployer.core.spec.platform import PROFILES
from deployer.core.spec.schema import Spec
from deployer.operations.render import credentials, manifests
from deployer.tracking.client import Client, Endpoint, Login, Unreachable

from .strategies import HEADER

REFERENCES = (ADMIN_USERNAME, *(need.ref for need in GENERATED))
FORMS = (repr, str, "{}".format, "{!r}".format, "%s".__mod__, lambda value: repr([value]), lambda value: f"{value}")
values = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8).map(lambda text: f"S3{text}")


@given(st.dictionaries(st.sampled_from(REFERENCES), values, min_size=1))
def test_secrets_print_their_names_only(texts):
    for form in FORMS:
        shown = form(Secrets(texts))
        assert not [value for value in texts.values() if value in shown]
        assert all(f"{ref.secret}/{ref.key}" in shown for ref in texts)


@given(values)
def test_a_login_prints_its_user_only(password):
    for form in FORMS:
        shown = form(Login("anna", password))
        assert password not in shown
        assert "anna" in shown


def test_a_traceback_through_an_unreachable_server_shows_no_password():
    login = Login("anna", "S3cret-password-x")
    client = Client(Endpoint("http://127.0.0.1:1"), login)
    try:
        with pytest.raises(Unreachable) as failure:
            client.get("api")
    finally:
        client.close()
    assert login.password not in "".join(traceback.format_exception(failure.value))
    assert login.password not in repr(vars(failure.value))


@pytest.mark.parametrize(
    "part",
    [
        {"spec": {"auth": {"password": "S3cret-password-x"}}},
        {"spec": {"auth": {"defaultPermission": "S3cret-password-x"}}},
        {"spec": {"database": {"type": "S3cret-password-x"}}},
        {"spec": {"database": {"type": "external", "url": "postgresql://u:S3cret-password-x@h/d"}}},
        {"spec": {"local": {"port": "S3cret-password-x"}}},
        {"spec": "S3cret-password-x"},
    ],
)
def test_a_secret_typed_into_the_wrong_place_is_not_shown(part):
    with pytest.raises(InvalidSpec) as refusal:
        validate({**HEADER, **part}, "file")
    assert "S3cret" not in "".join(traceback.format_exception(refusal.value))
    assert "S3cret" not in repr(refusal.value.problems)


@pytest.mark.parametrize("text", ["a: 'S3cret-password-x", "a: S3cret-password-x: b", "a: !!int S3cret-password-x"])
def test_a_broken_line_is_named_by_number_and_not_shown(text):
    with pytest.raises(InvalidSpec) as refusal:
        parse(text.encode(), "file")
    assert "S3cret" not in "".join(traceback.format_exception(refusal.value))


def test_a_value_that_a_file_cannot_hold_is_not_shown():
    with pytest.raises(Unrepresentable) as refusal:
        ini_value("S3cret-password-x\n")
    assert "S3cret" not in str(refusal.value)


@pytest.mark.parametrize("platform", PROFILES.values(), ids=PROFILES)
def test_manifests_hold_references_and_the_credentials_are_new_each_time(platform):
    documents, _ = manifests(Spec(), platform, "team-a")
    text = "".join(documents.values())
    assert not [key for key in documents if key.startswith("Secret/")]
    first, second = ([m["stringData"] for m in yaml.safe_load_all(credentials(Spec(), {}))] for _ in range(2))
    made = [value for part in first for key, value in part.items() if key != "username"]
    assert len(made) == len(GENERATED)
    assert not [value for value in made if value in text]
    assert not set(made) & {value for part in second for value in part.values()}


def test_a_spec_contains_no_secret():
    made = add_missing(None, GENERATED, os.urandom, {ADMIN_USERNAME: "admin"})
    stored = json.dumps(Spec().document())
    assert not [value for ref, value in made.values.items() if ref != ADMIN_USERNAME and value in stored]
