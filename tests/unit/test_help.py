"""`--help` is grouped, fits any terminal, has valid examples, and loads few modules."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable

import pytest
import typer
from typer.testing import CliRunner

from deployer.cli.app import app
from deployer.cli.command_groups import COMMANDS, EXAMPLES, GENERAL, GROUPS
from deployer.cli.help import GROUPS as OPTION_GROUPS

HEAVY = ("boto3", "jinja2", "kubernetes", "pg8000", "pydantic", "requests", "rich", "urllib3", "yaml")
LOADED = f"""
import json, sys
from deployer.cli.app import app
try:
    app(sys.argv[1:], prog_name="deployer")
except SystemExit:
    pass
print(json.dumps(sorted({{*{HEAVY!r}}} & {{*sys.modules}})))
"""
Help = Callable[..., str]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Help:
    """Return a function that gives the help of a command for a number of columns."""

    def at(columns: int, *words: str) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        done = CliRunner().invoke(app, [*words, "--help"], prog_name="deployer")
        assert done.exit_code == 0
        return done.stdout

    return at


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_no_line_is_longer_than_the_width_of_the_terminal(shown: Help, command: str, columns: int) -> None:
    assert max(map(len, shown(columns, *command.split()).splitlines())) <= columns


@pytest.mark.parametrize("columns", [60, 100])
def test_help_uses_the_width_of_the_terminal(shown: Help, columns: int) -> None:
    for words in ((), ("create",)):
        assert max(map(len, shown(columns, *words).splitlines())) > columns * 0.7


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_word_is_lost_or_cut(shown: Help, columns: int) -> None:
    words = set(shown(1000, "create").split())
    assert words - set(shown(columns, "create").split()) == set()


def test_commands_and_options_are_grouped(shown: Help) -> None:
    general = shown(80)
    places = [general.index(f"\n{group}:\n") for group in GROUPS]
    assert places == sorted(places)
    assert sum(map(len, GROUPS.values())) == len(COMMANDS) == len(set(COMMANDS))
    create = shown(80, "create")
    titles = [line.removesuffix(":") for line in create.splitlines() if line.endswith(":") and line[0] != " "]
    assert titles == ["Arguments", *OPTION_GROUPS, "Examples"]
    assert create.index("\nDatabase:") < create.index("--database-file") < create.index("\nArtifacts:")


@pytest.mark.parametrize(
    ("command", "example"),
    [(name, example) for name, examples in EXAMPLES.items() for _, example in examples]
    + [("", example) for _, example in GENERAL],
)
def test_each_example_is_a_line_that_deployer_accepts(command: str, example: str) -> None:
    inside = re.fullmatch(r'eval "\$\((.*)\)"|source <\((.*)\)', example)
    line = inside[1] or inside[2] if inside else example
    program, name, *words = shlex.split(line.partition(" > ")[0])
    assert program == "deployer"
    assert command in ("", name)
    found = typer.main.get_command(app).get_command(None, name)  # type: ignore[attr-defined]
    found.make_context(name, words)


def test_examples_are_continued_so_that_a_shell_reads_the_same_words(shown: Help) -> None:
    narrow = shown(40, "render").partition("Examples:\n")[2]
    lines = "".join(f"{line}\n" for line in narrow.splitlines() if not line.lstrip().startswith("#"))
    assert "\\\n" in lines
    script = lines.replace("deployer", "printf '%s\\n'", 1)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == shlex.split(EXAMPLES["render"][0][1])[1:]


@pytest.mark.parametrize("words", [(), ("help",), *((name, "--help") for name in COMMANDS)], ids=" ".join)
def test_help_loads_no_heavy_module(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *words], capture_output=True, text=True, check=True, timeout=120
    )
    assert "Usage: deployer" in done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
