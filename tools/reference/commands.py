"""The page about all commands, made from typer's own objects."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from enum import Enum
from typing import Any

import typer

from deployer.cli.app import app
from deployer.cli.command_groups import EXAMPLES, GENERAL
from deployer.cli.command_groups import GROUPS as COMMAND_GROUPS
from deployer.cli.help import GROUPS, OPTIONS
from tools.reference.markdown import anchor, code, prose, table


def page() -> str:
    """Return the page: an overview, then one section per command."""
    group: Any = typer.main.get_command(app)
    context = typer.Context(group, info_name="deployer")
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    shown = {name: command for name, command in commands.items() if not command.hidden}
    lines = ["# Commands", "", prose(inspect.cleandoc(group.help)), ""]
    for title, names in COMMAND_GROUPS.items():
        lines += [f"**{title}**", ""]
        lines += table(("command", "purpose"), [_overview(name, shown[name]) for name in names if name in shown])
    lines += ["Every command has the option `-h, --help`. These options stand before the command:", ""]
    lines += _options(group)
    lines += _examples(GENERAL)
    for name, command in shown.items():
        lines += _section(name, command, typer.Context(command, parent=context, info_name=name))
    return "\n".join(lines).rstrip("\n") + "\n"


def _overview(name: str, command: Any) -> tuple[str, str]:
    return f"[{code(f'deployer {name}')}]({anchor(f'deployer {name}')})", prose(command.help)


def _section(name: str, command: Any, context: Any) -> list[str]:
    usage = " ".join(("deployer", name, *command.collect_usage_pieces(context)))
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    rows = [(code(param.metavar), prose(param.help or ""), _default(param)) for param in arguments]
    return [
        *(f"## deployer {name}", "", prose(inspect.cleandoc(command.help)), ""),
        *("```console", usage, "```", ""),
        *table(("argument", "meaning", "default"), rows),
        *_options(command),
        *_examples(EXAMPLES.get(name, ())),
    ]


def _options(command: Any) -> list[str]:
    """Return a table for each group of options."""
    options = [param for param in command.params if param.param_type_name == "option" and not param.hidden]
    groups = {title: [each for each in options if (each.rich_help_panel or OPTIONS) == title] for title in GROUPS}
    lines: list[str] = []
    for title, params in groups.items():
        rows = [(_spelling(param), prose(param.help or ""), _default(param)) for param in params]
        lines += table((title.lower(), "meaning", "default"), rows)
    return lines


def _examples(examples: Sequence[tuple[str, str]]) -> list[str]:
    lines = [line for comment, example in examples for line in (f"# {comment}", example)]
    return ["```console", *lines, "```", ""] if lines else []


def _spelling(param: Any) -> str:
    """Return all spellings of an option with its value, as `--help` shows them."""
    spelled = ", ".join(sorted(param.opts, key=len))
    if param.secondary_opts:
        spelled += " / " + ", ".join(param.secondary_opts)
    return code(spelled if param.is_flag else f"{spelled} {param.metavar}")


def _default(param: Any) -> str:
    """Return the value that counts if a parameter is not given; nothing if `--help` shows no value either."""
    value = param.default.value if isinstance(param.default, Enum) else param.default
    if param.required:
        return "required"
    if not param.show_default or value is None or isinstance(value, bool):
        return ""
    return code(str(value))
