"""Every quoted value is read back unchanged; installed shells confirm it."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess

import pytest
import yaml
from dotenv import dotenv_values
from hypothesis import given
from hypothesis import strategies as st

from deployer.core import quoting
from deployer.core.quoting import Unquotable
from tests.support.hypothesis_profiles import examples
from tests.unit.strategies import HAZARDS

VALUES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20), min_size=1, max_size=20)
USABLE = [value for value in HAZARDS if "\0" not in value and len(value) < 3000]


def words_out(shell: str, line: str) -> list[str]:
    """Return the words that a program gets from `printf '%s\\0' WORDS` in a real shell."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed; tests/local/test_snippets.py installs it")
    out = subprocess.run([path], input=line.encode(), capture_output=True, check=True, timeout=60).stdout
    return [word.decode() for word in out.split(b"\0")[:-1]]


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "fish"])
def test_every_hazard_goes_through_the_real_shell(shell: str) -> None:
    quote = quoting.fish if shell == "fish" else quoting.shell
    assert words_out(shell, f"printf '%s\\0' {' '.join(map(quote, USABLE))}\n") == USABLE


@examples(0.25)  # each example starts a process
@given(VALUES)
def test_any_text_goes_through_sh_and_its_double_quotes(values: list[str]) -> None:
    inside = " ".join(f'"{quoting.shell_inside(value)}"' for value in values)
    line = f"printf '%s\\0' {' '.join(map(quoting.shell, values))} {inside}\n"
    assert words_out("dash", line) == values + values


@given(st.text())
def test_python_and_docker_fields_read_back(value: str) -> None:
    assert eval(quoting.python(value)) == value
    assert quoting.python(value).isascii()
    if not {"\r", "\n", "\0"} & set(value):
        assert next(csv.reader(io.StringIO(f"a,{quoting.csv_field(value)}"))) == ["a", value]


@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc", "Cn"])))
def test_a_dotenv_line_is_read_alike_by_all_readers_or_refused(value: str) -> None:
    try:
        line = f"NAME={quoting.dotenv(value)}\n"
    except Unquotable:
        return
    assert dotenv_values(stream=io.StringIO(line)) == {"NAME": value}
    assert line.removesuffix("\n").split("=", 1) == ["NAME", value]  # docker reads the line verbatim


@pytest.mark.parametrize(
    "value", ["a b", "$HOME", "a#b", "a'b", 'a"b', "\\n", "100%", "http://127.0.0.1:5000", "=", ""]
)
def test_ordinary_values_are_unquoted_in_a_dotenv_file(value: str) -> None:
    assert quoting.dotenv(value) == value


@pytest.mark.parametrize("value", ["a\nb", " a", "a ", "'a", '"a', "${HOME}", "a #b", "a\t#b", "\x1b"])
def test_values_that_dotenv_readers_read_differently_are_refused(value: str) -> None:
    with pytest.raises(Unquotable):
        quoting.dotenv(value)


@pytest.mark.parametrize("value", ["plain", "a: b # c", 'a"b', "100%", "- x", "{{ x }}", "é"])
def test_yaml_values_read_back(value: str) -> None:
    assert yaml.safe_load(quoting.yaml(value)) == value


def test_github_evaluates_nothing_of_a_value() -> None:
    assert json.loads(quoting.yaml("${{ secrets.X }}")) == "${{ '${{' }} secrets.X }}"


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("a", "'a'"),
        ("", "''"),
        ("it's", "'it''s'"),
        ("\u2018a\u2019\u201a\u201b", "'\u2018\u2018a\u2019\u2019\u201a\u201a\u201b\u201b'"),
        ('$env:X `n "$(id)"', "'$env:X `n \"$(id)\"'"),
        ("a\nb", "'a\nb'"),
    ],
)
def test_powershell_quoting_changes_only_single_quotes(value: str, quoted: str) -> None:
    assert quoting.powershell(value) == quoted


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("a", 'set "X=a"'),
        ("a b&c|d<e>f^g(h)!", 'set "X=a b&c|d<e>f^g(h)!"'),
        ("100%PATH%", 'set "X=100%%PATH%%"'),
        ('a"b&c', 'set X=a^"b^&c'),
        ('"%1^', 'set X=^"%%1^^'),
    ],
)
def test_a_batch_file_sets_a_variable_to_any_line(value: str, line: str) -> None:
    assert quoting.cmd_set("X", value) == line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("deployer", "show-password", "mlflow"), "deployer show-password mlflow"),
        (("deployer", "--context", "a b&c"), 'deployer --context "a b&c"'),
        ((r"C:\a b\deployer.exe", "x"), '^""C:\\a b\\deployer.exe" x^"'),
        (("deployer", ""), 'deployer ""'),
    ],
)
def test_a_batch_file_keeps_the_words_of_a_command_intact(words: tuple[str, ...], line: str) -> None:
    assert quoting.cmd_command(words) == line


@pytest.mark.parametrize("word", ["a\nb", 'a"b', "100%"])
def test_values_that_cmd_cannot_pass_on_are_refused(word: str) -> None:
    with pytest.raises(Unquotable):
        quoting.cmd_command(["deployer", word])


def test_a_comment_stays_on_one_line() -> None:
    assert quoting.comment("a\nb\r\u2028c\x85é") == "a\\nb\\r\\u2028c\\x85é"
