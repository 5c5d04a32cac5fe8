"""Errors of the lower layers carry values; only the command line knows the words that users type."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
import typer
from typer.main import get_command

import deployer
from deployer.cli.app import app
from deployer.cli.command_groups import COMMANDS
from deployer.cli.remedies import WORDS, message, words
from deployer.core.errors import UnusableValue, UsageError
from deployer.core.remedies import Remedy, ServerRef

PACKAGE = Path(deployer.__file__).parent
LAYERS = ("core", "kube", "targets", "operations", "storage", "tracking", "clients")
CLIENTS = PACKAGE / "core" / "clients"  # texts for clients, which may contain commands
FILES = [path for layer in LAYERS for path in sorted((PACKAGE / layer).rglob("*.py")) if CLIENTS not in path.parents]
# options of other programs (oc, uv) with the same names
OTHERS = {
    "kube/identity.py": {"--context="},
    "targets/local/environment.py": {"--python"},
    "targets/local/releases.py": {"--python"},
}


def place_in(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@cache
def forbidden() -> re.Pattern[str]:
    """Return a pattern for every option of deployer, and every command after the word deployer or a backtick."""
    group: Any = get_command(app)
    context = typer.Context(group)
    commands = [group.get_command(context, name) for name in COMMANDS]
    options = {
        option for command in commands for param in command.params for option in (*param.opts, *param.secondary_opts)
    }
    long = "|".join(sorted(re.escape(option) for option in options if option.startswith("--")))
    short = "|".join(sorted(option[1] for option in options if re.fullmatch("-[a-z]", option)))
    names = "|".join(map(re.escape, COMMANDS))
    return re.compile(
        rf"(?<![\w-])({long})(?![\w-])|(^|\s|`)-({short}) [A-Z]|\bdeployer ({names})\b|`({names})( [a-z0-9 -]+)?`"
    )


def texts(path: Path) -> Iterator[str]:
    """Yield the texts in a file's code, without docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said:
            yield node.value


def placeholders(remedy: Remedy) -> set[str]:
    """Return the values that the words of a remedy need."""
    found = {name for _, name, _, _ in Formatter().parse(WORDS[remedy]) if name}
    return (found - {"name", "place"}) | {"server"} if "place" in found else found


@cache
def uses() -> list[tuple[str, Remedy, frozenset[str]]]:
    """Return where the layers use each remedy, and the names of the values that they give."""
    found: list[tuple[str, Remedy, frozenset[str]]] = []
    for path in FILES:
        tree = ast.parse(path.read_text("utf-8"))
        given = {
            id(node.func.value): frozenset(str(keyword.arg) for keyword in node.keywords)
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "of"
        }
        found += [
            (f"{place_in(path)}:{node.lineno}", Remedy[node.attr], given.get(id(node), frozenset()))
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Remedy"
        ]
    return found


@pytest.mark.parametrize("remedy", Remedy, ids=lambda remedy: remedy.name)
def test_each_use_of_a_remedy_gives_the_values_of_its_text(remedy: Remedy) -> None:
    places = {where: given for where, used, given in uses() if used is remedy}
    assert places
    assert {where: set(given) for where, given in places.items()} == dict.fromkeys(places, placeholders(remedy))


@pytest.mark.parametrize("remedy", Remedy, ids=lambda remedy: remedy.name)
def test_the_words_of_each_remedy_hold_its_values(remedy: Remedy) -> None:
    values: dict[str, Any] = {name: f"the-{name}" for name in placeholders(remedy)}
    shown = set(values.values()) - {"the-server", "the-fields"}
    if "server" in values:
        values["server"] = ServerRef("lab", "team-a", "rahti")
        shown |= {" lab ", " --namespace team-a --context rahti"}
    if "fields" in values:
        values["fields"] = {"spec.exposure.type": "route"}
        shown |= {"--expose route"}
    text = words(remedy.of(**values) if values else remedy)
    assert text
    assert not re.search("[{}]", text)
    assert not [value for value in shown if value not in text]


@pytest.mark.parametrize(
    ("server", "place"),
    [
        (ServerRef("lab"), "--target local"),
        (ServerRef("lab", "team-a"), "--namespace team-a"),
        (ServerRef("lab", "team-a", "my cluster"), "--namespace team-a --context 'my cluster'"),
    ],
)
def test_a_command_names_the_place_of_its_server(server: ServerRef, place: str) -> None:
    assert words(Remedy.START.of(server=server)) == f"`deployer start lab {place}` starts it"


def test_a_value_is_quoted_in_a_command_and_never_read_as_a_placeholder() -> None:
    said = words(Remedy.NEW_PASSWORD.of(server=ServerRef("lab"), user="anna {place} b"))
    assert said.startswith("`deployer rotate-password lab --user 'anna {place} b' --target local`")


def test_fields_become_flags_and_a_field_without_a_value_shows_the_kind_of_its_value() -> None:
    fields = {"spec.exposure.type": "ingress", "spec.exposure.host": None, "spec.exposure.allowEveryone": True}
    said = words(Remedy.CHANGE_LINES_OR_EXPOSURE.of(fields=fields))
    assert said.startswith("add --expose ingress --host HOST --allow-everyone; in a file, ")


def test_a_hint_that_is_text_stays_unchanged() -> None:
    assert words("try again") == "try again"


def test_an_unusable_value_is_named_by_field_and_flag() -> None:
    error = UnusableValue("spec.local.python", "/nowhere", "there is no such program")
    assert error.message == "spec.local.python /nowhere: there is no such program"
    assert message(error) == "--python (spec.local.python) /nowhere: there is no such program"
    assert message(UnusableValue("spec.pod", "x", "no")) == "spec.pod x: no"
    assert message(UsageError("what happened")) == "what happened"


@pytest.mark.parametrize("path", FILES, ids=place_in)
def test_lower_layers_contain_no_words_of_the_command_line(path: Path) -> None:
    allowed = OTHERS.get(place_in(path), set())
    assert [text for text in texts(path) if forbidden().search(text) and text not in allowed] == []


@pytest.mark.parametrize(
    "text",
    ["add --host NAME", "leave --keyring out", "choose another with -n NAME", "`deployer logs`", "deployer create -f x",
     "`rotate-keys s3` exchanges S3 keys", "(--port chooses another)", "--no-pin", "`--user NAME`"],
)  # fmt: skip
def test_words_of_the_command_line_are_recognized(text: str) -> None:
    assert forbidden().search(text)


@pytest.mark.parametrize(
    "text", ["--quiet", "--hostname", "deployer: refused to start", "deployer creates", "`kubectl create secret tls`"]
)
def test_other_words_are_not_recognized_as_words_of_the_command_line(text: str) -> None:
    assert not forbidden().search(text)
