"""Suggests a command for an unknown one; knows the command names of other tools."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from deployer.core.errors import UsageError

ALIASES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(("ls", "ps", "get"), "list"),
        **dict.fromkeys(("apply", "up", "new", "add", "install", "deploy", "update", "upgrade", "sync"), "create"),
        **dict.fromkeys(("destroy", "rm", "remove", "del", "uninstall", "purge"), "delete"),
        **dict.fromkeys(("down", "kill", "halt"), "stop"),
        **dict.fromkeys(("restart", "resume"), "start"),
        **dict.fromkeys(("serve", "server"), "run"),
        **dict.fromkeys(("info", "show", "describe", "inspect"), "status"),
        **dict.fromkeys(("log", "tail"), "logs"),
        **dict.fromkeys(("test", "check", "prove", "doctor"), "verify"),
        **dict.fromkeys(("password", "passwd", "get-password"), "show-password"),
        **dict.fromkeys(("template", "manifests", "generate", "export"), "render"),
        **dict.fromkeys(("plan", "drift"), "diff"),
        **dict.fromkeys(("invite", "users", "user"), "share"),
        "config": "init",
    }
)
# words that mean an option
OPTIONS: Final[Mapping[str, str]] = MappingProxyType({"help": "--help", "version": "--version"})


def rewritten(arguments: list[str]) -> list[str]:
    """Return the arguments with `help COMMAND` and `version` replaced by the options."""
    if not arguments or arguments[0] not in OPTIONS:
        return arguments
    if arguments[0] == "help":
        return [*arguments[1:2], "--help"]
    return [OPTIONS[arguments[0]]]


def no_command(typed: str, commands: Collection[str]) -> UsageError:
    """Return the error for an unknown command, with the command that was probably meant."""
    from deployer.core.errors import UsageError, one_line  # only for errors: --help must be fast

    close = difflib.get_close_matches(typed, commands, n=1)
    meant = ALIASES.get(typed) or (close[0] if close else None)
    problem = f"there is no command {one_line(typed) or repr(typed)}"
    if meant is None:
        return UsageError(problem, hint="`deployer --help` lists them")
    return UsageError(f"{problem}; did you mean {meant}?", hint=f"`deployer {meant} --help`")
