"""The table of flags makes the options of `create` and `run`, which receive the values by the paths of the fields."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from deployer.cli.app import COMMANDS, app
from deployer.cli.flags import FLAGS, NAMES, on_this_machine, with_flags
from deployer.cli.help import GROUPS


def given(command: str, *words: str) -> Mapping[str, Any]:
    """Return the flags that a command receives, without those that were not given."""
    received: dict[str, Any] = {}

    def call(flags: Mapping[str, Any]) -> None:
        received.update(flags)

    one = typer.Typer(add_completion=False)
    one.command()(with_flags(command, call))
    done = CliRunner().invoke(one, list(words))
    assert done.exit_code == 0, done.output
    return {path: value for path, value in received.items() if value is not None}


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (("--port", "5001"), {"spec.local.port": 5001}),
        (("--bucket", "runs"), {"spec.artifacts.bucket": "runs", "spec.artifacts.type": "s3"}),
        (("--bucket", ""), {"spec.artifacts.bucket": ""}),
        (("--allow-from", "a,b", "--allow-from", "c"), {"spec.exposure.allowFrom": ["a", "b", "c"]}),
        (("--allow-everyone",), {"spec.exposure.allowEveryone": True}),
        (("--python", "./bin/python"), {"spec.local.python": str(Path("bin/python").absolute())}),
        (("--host", "a.example.org"), {"spec.exposure.host": "a.example.org"}),
        ((), {}),
    ],
)
def test_a_flag_sets_its_field(words: tuple[str, ...], flags: Mapping[str, Any]) -> None:
    assert given("create", *words) == flags


def test_host_is_the_address_to_listen_at_on_this_machine() -> None:
    assert given("run", "--host", "localhost") == {"spec.local.host": "localhost"}
    assert on_this_machine(given("create", "--host", "localhost")) == {"spec.local.host": "localhost"}


def test_each_row_is_an_option_of_its_commands_and_of_no_other() -> None:
    group = typer.main.get_command(app)
    for name in COMMANDS:
        params = group.get_command(None, name).params  # type: ignore[attr-defined]
        offered = Counter(option for param in params for option in param.opts)
        rows = [flag.name for flag in FLAGS if name in flag.commands]
        assert all(offered[flag] == 1 for flag in rows), name
        assert len(rows) == len(set(rows)), name


def test_each_row_has_a_known_group_and_its_own_field() -> None:
    assert {flag.group for flag in FLAGS} <= set(GROUPS)
    assert len({flag.path for flag in FLAGS}) == len(FLAGS)
    assert all(NAMES[flag.path] == flag.name for flag in FLAGS)


def test_the_commands_take_the_flags_as_one_mapping() -> None:
    for name in sorted({command for flag in FLAGS for command in flag.commands}):
        module = __import__(f"deployer.cli.commands.{name}", fromlist=["command"])
        parameters = inspect.signature(module.command).parameters
        assert "flags" in parameters
        assert not {flag.parameter.name for flag in FLAGS if name in flag.commands} & set(parameters)
