"""Database URLs: which are accepted, why others are refused (without quoting), and which name the same database."""

import os
import traceback
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deployer.core.errors import InvalidSpec
from deployer.core.secrets.databases import (
    AUTH_DATABASE,
    REPLACED,
    TRACKING_DATABASE,
    place,
    read,
    restored,
    settled,
    staged,
    url_problem,
)
from deployer.core.secrets.references import ADMIN_USERNAME
from deployer.core.secrets.values import (
    GENERATED,
    Secrets,
    add_missing,
    fingerprints,
    keys_fingerprint,
    modified_secrets,
)

from .strategies import hostile

TRACKING = "postgresql://mlflow:S3cret-one@db.example.org:5433/tracking"
AUTH = "postgresql://mlflow:S3cret-two@db.example.org/auth?sslmode=require"
FILE = f"# of the team\n\ntracking = {TRACKING}\n  auth={AUTH}\r\n"


def lines(**urls):
    return "".join(f"{name} = {url}\n" for name, url in urls.items())


def test_a_file_gives_both_urls_with_the_driver_of_the_servers():
    assert read(b"\xef\xbb\xbf" + FILE.encode(), "file") == {
        TRACKING_DATABASE: TRACKING.replace("postgresql:", "postgresql+psycopg2:"),
        AUTH_DATABASE: AUTH.replace("postgresql:", "postgresql+psycopg2:"),
    }


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_both_urls_may_name_the_same_database(scheme):
    url = f"{scheme}://u:p@h/d"
    assert set(read(lines(tracking=url, auth=url).encode(), "file").values()) == {"postgresql+psycopg2://u:p@h/d"}


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["tracking: is missing", "auth: is missing"]),
        (lines(tracking=TRACKING), ["auth: is missing"]),
        (FILE + lines(auth=AUTH), ["line 5: auth stands here twice"]),
        (FILE + "S3cret\n", ["line 5: does not begin with `tracking =` or `auth =`"]),
        (FILE + AUTH, ["line 5: does not begin with `tracking =` or `auth =`"]),
        (FILE + lines(Auth=AUTH), ["line 5: does not begin with `tracking =` or `auth =`"]),
        (lines(tracking=f'"{TRACKING}"', auth=AUTH), ["line 1: the URL must be that of a PostgreSQL, such as "]),
        (lines(tracking="", auth=AUTH), ["line 1: the URL must be printable ASCII without blanks"]),
        (
            lines(tracking="sqlite:///S3cret.db", auth="mysql://u:S3cret@h/d"),
            ["line 1: the URL must be", "line 2: the"],
        ),
        ("#" * (65 << 10), ["larger than 64 KiB"]),
    ],
)
def test_each_mistake_is_named_by_its_line_and_nothing_is_quoted(text, problems):
    with pytest.raises(InvalidSpec) as refusal:
        read(text.encode(), "urls.txt")
    said = [str(problem) for problem in refusal.value.problems]
    assert len(said) == len(problems)
    assert all(one.startswith(wanted) for one, wanted in zip(said, problems, strict=True))
    assert "S3cret" not in "".join(traceback.format_exception(refusal.value)) + str(refusal.value.hint)
    assert "tracking = postgresql://" in refusal.value.hint


def test_a_file_that_is_not_text_is_refused():
    with pytest.raises(InvalidSpec, match="byte 6"):
        read(b"auth =\xff", "urls.txt")


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("u:S3cret@h", "name a database"),
        ("u:S3cret@h/", "name a database"),
        ("u:S3cret@h/a/b", "name a database"),
        ("u:S3cret@h/a%20b", "name a database"),
        ("h/d", "name a user and one host"),
        (":S3cret@h/d", "name a user and one host"),
        ("u:S3cret@/d", "name a user and one host"),
        ("u:S3cret@a,b/d", "name a user and one host"),
        ("u:S3cret@h:0/d", "name a user and one host"),
        ("u:S3cret@h:65536/d", "name a user and one host"),
        ("u:S3cret@h:x/d", "name a user and one host"),
        ("u:S3cret@x@h/d", "written as %40"),
        ("u:S3cret/x@h/d", "written as %40"),
        ("u:S3cret?x@h/d", "written as %40"),
        ("u:S3cret#x@h/d", "written as %40"),
        ("u:S3cret%x@h/d", "written as %40"),
        ("u:S3crét@h/d", "printable ASCII"),
        ("u:S3cret @h/d", "printable ASCII"),
        ("u:S3cret@h/d?host=other", "must not name host"),
        ("u:S3cret@h/d?sslmode=require&dbname=other", "must not name host"),
        ("u:S3cret@h/d?password=", "must not name host"),
    ],
)
def test_a_misleading_url_is_refused_and_not_quoted(rest, reason):
    problem = url_problem(f"postgresql://{rest}")
    assert reason in problem
    assert "S3cr" not in problem


@given(user=st.text(min_size=1), password=st.text())
def test_any_escaped_user_name_and_password_are_accepted(user, password):
    assume(not set(user + password) & set(map(chr, range(0xD800, 0xE000))))
    url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@h/d"
    assert url_problem(url) is None
    parts = urlsplit(url)
    assert (unquote(parts.username), unquote(parts.password)) == (user, password)


@given(hostile)
def test_hostile_text_is_no_url_and_does_not_break_place(text):
    assert url_problem(text)
    assert place(text) == text


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("postgresql+psycopg2://other:login@h/d", True),
        ("postgresql://u:p@H:5432/d?sslmode=require", True),
        ("postgresql://u:p@other/d", False),
        ("postgresql://u:p@h:5433/d", False),
        ("postgresql://u:p@h/D", False),
        ("postgresql://u:p@h/d?options=-csearch_path%3Dteam", False),
    ],
)
def test_host_port_name_and_schema_identify_a_database(other, same):
    assert (place(other) == place("postgres://u:p@h/d")) is same


OLD, NEW, NEWER = (dict.fromkeys(REPLACED, f"postgresql://u:{name}@h/d") for name in ("old", "new", "newer"))


def stored(values, changes):
    return {ref: text for ref, text in {**values, **changes}.items() if text is not None}


def test_proven_urls_stay_stored_until_the_new_urls_are_proven():
    trying = stored(OLD, staged(OLD, NEW))
    assert {ref: trying[ref] for ref in REPLACED} == NEW
    assert stored(trying, restored(trying)) == OLD
    assert stored(trying, settled(trying)) == NEW
    # newer URLs leave the proven URLs stored; a return to the proven URLs leaves nothing else stored
    assert stored(trying, staged(trying, NEWER)) == {**NEWER, **{kept: OLD[ref] for ref, kept in REPLACED.items()}}
    assert stored(trying, staged(trying, OLD)) == OLD


def test_without_earlier_urls_nothing_is_staged_or_restored():
    assert stored({}, staged({}, NEW)) == NEW
    assert restored(NEW) == {}
    assert settled(NEW) == {}
    one = {TRACKING_DATABASE: NEW[TRACKING_DATABASE]}
    assert staged(OLD, one).keys() == {TRACKING_DATABASE, REPLACED[TRACKING_DATABASE]}


def test_another_login_restarts_the_server_and_only_another_database_changes_the_fingerprint():
    made = add_missing(None, GENERATED, os.urandom, {ADMIN_USERNAME: "admin"}).values
    before = Secrets({**made, **OLD})
    trying = Secrets({**made, **stored(OLD, staged(OLD, NEW))})
    assert modified_secrets(fingerprints(before), trying) == ()
    assert keys_fingerprint(before) != keys_fingerprint(trying)
    assert keys_fingerprint(trying) == keys_fingerprint(Secrets({**made, **NEW}))  # the proof itself needs no restart
    elsewhere = Secrets({**made, **OLD, AUTH_DATABASE: "postgresql://u:old@h/other"})
    assert modified_secrets(fingerprints(before), elsewhere) == ("server",)
    assert modified_secrets(fingerprints(before), Secrets(made)) == ("server",)
