"""deployer completion: a script that completes commands, options and names of servers in a shell."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer._completion_shared import get_completion_script

from deployer.cli.app import COMPLETE
from deployer.cli.parsing import choice


class Shell(StrEnum):
    """Shells whose completion is supported."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def command(
    shell: Annotated[
        Shell,
        typer.Argument(metavar="bash|zsh|fish", parser=choice("SHELL", Shell), help="The shell that reads the script."),
    ],
) -> None:
    """Print a script that completes commands, options and names of servers in a shell."""
    print(get_completion_script(prog_name="deployer", complete_var=COMPLETE, shell=shell.value))
