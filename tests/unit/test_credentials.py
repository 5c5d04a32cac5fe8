"""The text of the credentials file: MLflow reads the login from it, and the rest stays unchanged byte for byte."""

from __future__ import annotations

import configparser
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.clients.credentials import (
    Damaged,
    Entry,
    Owner,
    foreign,
    owner_of,
    value_problem,
    with_login,
    without_login,
)

OURS = Entry(Owner("https://mlflow.example.org", "mlflow"), "alice", "p%w$(x)#;=: '\"\\%(y)s%%")
OTHER = Entry(Owner("http://127.0.0.1:5000"), "bob", "another-password")


def read(text: str) -> tuple[str | None, str | None]:
    """Read the login as mlflow/utils/credentials.py does."""
    config = configparser.ConfigParser()
    config.read_file(io.StringIO(text, newline=None))  # the line ends of a file in text mode
    if "mlflow" not in config:
        return None, None
    return config["mlflow"].get("mlflow_tracking_username"), config["mlflow"].get("mlflow_tracking_password")


TEXTS = {
    "empty": "",
    "comments": "# mine\n; too\n\n",
    "other section": "[other]\nkey = 100%\n  more of it\n",
    "no last newline": "[other]\nkey: value",
    "foreign login": "# before\n[mlflow]\n# of mine\nmlflow_tracking_username = carol\nmlflow_tracking_password=a%%b\n",
    "foreign login with company": (
        "[a]\nx=1\n\n[mlflow]\nregion = north\n\nMLFLOW_TRACKING_USERNAME : carol\n"
        "mlflow_tracking_password = two\n  lines\ncolour = red\n# of b\n[b]\ny=2\n"
    ),
    "windows": "[mlflow]\r\nmlflow_tracking_username = carol\r\nmlflow_tracking_password = x\r\n[b]\r\ny = 2\r\n",
    "indented": "  [mlflow]\n    region = north\n    mlflow_tracking_username = carol\n  [b]\n    y = 2\n",
    "indented header follows": "[mlflow]\n  [b]\n  y = 2\n",
    "password alone": "[mlflow]\nmlflow_tracking_password = x\n",
    "other keys alone": "[mlflow]\nregion = north\n",
    "header without newline": "[other]\n[mlflow]",
    "default": "[DEFAULT]\nmlflow_tracking_username = dave\n[b]\n",
    "unicode": "[other]\nname = Jyväskylä\u2028x\x0cy\n",
}


@pytest.mark.parametrize("case", TEXTS)
def test_a_login_is_read_as_given_and_its_removal_restores_the_file(case: str) -> None:
    text = TEXTS[case]
    with_ours = with_login(text, OURS)
    assert read(with_ours) == (OURS.username, OURS.password)
    assert owner_of(with_ours) == OURS.owner
    for line in text.splitlines():
        assert line.strip() in with_ours
    back = without_login(with_ours)
    assert back in (text, f"{text}\n")
    assert read(back) == read(text)
    assert without_login(back) == back


@pytest.mark.parametrize("case", TEXTS)
def test_a_second_login_of_deployer_replaces_the_first(case: str) -> None:
    twice = with_login(with_login(TEXTS[case], OTHER), OURS)
    assert twice == with_login(without_login(with_login(TEXTS[case], OTHER)), OURS)
    assert "another-password" not in twice
    assert without_login(twice) in (TEXTS[case], f"{TEXTS[case]}\n")


def test_a_foreign_login_is_distinguished_from_a_login_of_deployer() -> None:
    assert foreign(TEXTS["foreign login"])
    assert foreign(TEXTS["password alone"])
    assert not foreign(with_login(TEXTS["foreign login"], OURS))
    assert not foreign(TEXTS["other keys alone"])


def test_a_login_of_deployer_is_recognized_after_a_rewrite_without_comments() -> None:
    parser = configparser.ConfigParser()
    parser.read_string(with_login(TEXTS["foreign login"], OURS))
    written = io.StringIO()
    parser.write(written)
    assert owner_of(written.getvalue()) == OURS.owner
    assert read(without_login(written.getvalue())) == ("carol", "a%b")


def test_a_foreign_login_in_place_of_a_deployer_login_is_preserved() -> None:
    first = with_login(TEXTS["foreign login"], OURS)
    theirs = "\n".join(line for line in first.split("\n") if not line.startswith("deployer_login"))
    again = with_login(theirs, OTHER)
    assert read(again) == (OTHER.username, OTHER.password)
    assert without_login(again).splitlines() == [line for line in theirs.splitlines() if "`deployer login`" not in line]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("key = 1\n", "line 1 stands in no section"),
        ("[mlflow]\n[mlflow]\n", "line 2 begins a section for the second time"),
        ("[a]\nx = 1\nX = 2\n", "line 3 sets a key for the second time"),
        ("[a]\nsecret-canary\n", "line 2 is no `key = value`"),
        ("\ufeff[a]\n", "line 1 stands in no section"),
        ("[mlflow]\nmlflow_tracking_password = 50%canary\n", "% that is not doubled"),
    ],
)
def test_a_damaged_file_is_refused_and_not_quoted(text: str, why: str) -> None:
    for change in (lambda: with_login(text, OURS), lambda: without_login(text)):
        with pytest.raises(Damaged) as refused:
            change()
        assert why in str(refused.value)
        assert "canary" not in str(refused.value)


@pytest.mark.parametrize("value", ["", " a", "a ", "a\nb", "ä", "\x7f"])
def test_a_value_that_would_be_read_back_differently_is_refused(value: str) -> None:
    assert value_problem(value)


def test_the_password_is_never_printed() -> None:
    assert OURS.password not in repr(OURS)


LINES = st.sampled_from(
    [
        "[mlflow]", "[a]", " [b]", "[DEFAULT]", "# c", ";c", "", "  ", "x = 1", "  y: 2", "\tz=%%", "x=", "  more",
        "mlflow_tracking_username = u", "  MLFLOW_TRACKING_PASSWORD=p", "mlflow_tracking_password: two",
        "before_login_x = 1", "deployer_login = https://old", "[mlflow] # tail", "mlflow_tracking_username",
    ]
)  # fmt: skip
ENDS = st.sampled_from(["\n", "\r\n", "\r"])
WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30).filter(
    lambda word: value_problem(word) is None
)


@given(st.lists(st.tuples(LINES, ENDS), max_size=8), WORDS, WORDS)
def test_any_file_is_refused_or_gets_the_login_and_keeps_its_other_lines(
    lines: list[tuple[str, str]], username: str, password: str
) -> None:
    text = "".join(line + end for line, end in lines)
    entry = Entry(Owner("https://x.example"), username, password)
    try:
        before = without_login(text)
        after = with_login(text, entry)
    except Damaged:
        return
    assert read(after) == (username, password)
    back = without_login(after)
    assert [line for line in before.split() if line != "[mlflow]"] == [x for x in back.split() if x != "[mlflow]"]
    assert read(back) == read(before) or read(before) == (None, None)
