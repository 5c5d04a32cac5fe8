"""Translates typer's errors about options, arguments and commands into deployer's words."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployer.core.errors import UsageError


def explained(error: Any) -> UsageError:
    """Return deployer's error for a usage error of typer; `ctx` of the error knows the command.

    The kinds of errors are recognised by their attributes, because their classes are not part of typer's API.
    """
    from deployer.core.errors import UsageError, one_line  # only for errors: --help must be fast

    place = error.ctx.command_path if error.ctx else "deployer"
    command = place.rpartition(" ")[2]
    params = error.ctx.command.params if error.ctx else []
    hint = f"`{place} --help` explains every option"
    option = one_line(getattr(error, "option_name", ""))
    if hasattr(error, "possibilities"):
        known = [name for param in params for name in param.opts if name.startswith("--")]
        close = difflib.get_close_matches(option, known, n=1)
        return UsageError(f"{command} has no {option}{f'; did you mean {close[0]}?' if close else ''}", hint=hint)
    if option:
        wants = "takes no value" if "not take" in error.message else "needs a value"
        return UsageError(f"{option} {wants}", hint=hint)
    if hasattr(error, "param_type"):
        return UsageError(f"{command} needs {_shown(error.param)}", hint=hint)
    if place == command:
        return UsageError(f"{command} needs a command", hint=f"`{command} --help` lists them")
    if extra := re.search(r"unexpected extra arguments?(?:\(s\))? \((.*)\)$", error.message, re.DOTALL):
        arguments = " ".join(_shown(param) for param in params if param.param_type_name == "argument")
        takes = f"takes {arguments} alone" if arguments else "takes no argument"
        return UsageError(f"{command} {takes}; {one_line(extra[1])} is too much", hint=f"`{place} --help`")
    return UsageError(one_line(error.format_message()), hint=hint)


def _shown(param: Any) -> str:
    return str(param.metavar or param.opts[0]) if param is not None else "more"
