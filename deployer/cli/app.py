"""The command `deployer`: finds and runs a command; the only place that turns an error into an exit code.

Imports only typer at the start, so that `deployer --help` is fast.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from deployer.cli.command_groups import COMMANDS, EXAMPLES, GENERAL, GROUPS
from deployer.cli.ending import interruptible
from deployer.cli.help import GROUPS as OPTION_GROUPS
from deployer.cli.help import OPTIONS, columns, write_examples, write_sections
from deployer.cli.unknown import no_command, rewritten
from deployer.cli.usage import explained

COMPLETE: Final = "_DEPLOYER_COMPLETE"  # a completion script asks for completions with this variable
_UsageError: Final[type[Exception]] = typer.BadParameter.__mro__[1]


class _Command(TyperCommand):
    """Shows arguments by their names only, without typer's type names, and options by group."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except _UsageError as error:
            vars(error)["ctx"] = ctx  # typer's option parser does not set ctx
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        names = [(param.metavar, param.required) for param in self.params if _is_argument(param)]
        return ["[OPTIONS]", *(str(name) if required else f"[{name}]" for name, required in names)]

    def get_help(self, ctx: Any) -> str:
        ctx.terminal_width = columns()
        return super().get_help(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{group: [] for group in OPTION_GROUPS}}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                name, text = record
                if _is_argument(param):
                    sections["Arguments"].append((str(param.metavar), text))
                else:
                    sections[getattr(param, "rich_help_panel", None) or OPTIONS].append((name, text))
        write_sections(formatter, sections)
        write_examples(formatter, EXAMPLES.get(str(self.name), ()))


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


class _Commands(TyperGroup):
    """Knows the names of all commands, imports the called command, and turns its error into an exit code."""

    _completes_names = False

    def list_commands(self, _: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            if ctx.resilient_parsing:  # a shell asks for completions
                return None
            raise no_command(cmd_name, COMMANDS)
        if self._completes_names:  # their help texts suffice; to import all commands takes a second
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name])
        module = importlib.import_module(f"deployer.cli.commands.{cmd_name.replace('-', '_')}")
        one = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
        from deployer.cli.flags import with_flags

        one.command(cmd_name, cls=_Command, help=COMMANDS[cmd_name])(with_flags(cmd_name, module.command))
        return typer.main.get_command(one)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, rewritten(args))

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False  # otherwise typer loads pydantic to read None as a bool
        return option

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        self._completes_names = True
        return super().shell_complete(ctx, incomplete)

    def main(self, *args: Any, **extra: Any) -> Any:
        if COMPLETE in os.environ:
            from typer._completion_classes import completion_init

            completion_init()
        return super().main(*args, **extra)

    def get_help(self, ctx: Any) -> str:
        ctx.terminal_width = columns()
        return super().get_help(ctx)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        options = [record for param in self.get_params(ctx) if (record := param.get_help_record(ctx))]
        write_sections(formatter, {OPTIONS: options, **{group: [*rows.items()] for group, rows in GROUPS.items()}})
        write_examples(formatter, GENERAL)

    def invoke(self, ctx: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):  # with LANG=C, a non-ASCII file name must not raise
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        with _told(), interruptible():
            result = super().invoke(ctx)
            sys.stdout.flush()
        return result

    def make_context(self, *args: Any, **extra: Any) -> Any:
        with _told():  # --help and --version print during parsing
            return super().make_context(*args, **extra)


@contextmanager
def _told() -> Iterator[None]:
    """Print an error to standard error and exit with its code."""
    try:
        yield
    except OSError as error:  # of standard output: a full disk, or a closed pipe as in `deployer logs | head`
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"Error: cannot write to standard output: {error.strerror}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(1) from None
    except Exception as caught:
        from deployer.core.errors import DeployerError

        usage = isinstance(caught, _UsageError) and type(caught).__name__ != "NoArgsIsHelpError"
        told = explained(caught) if usage else caught
        if not isinstance(told, DeployerError):
            raise
        from deployer.cli.remedies import message, words

        sys.stderr.write(f"{told.title}: {message(told)}\n")
        if told.hint:
            sys.stderr.write(f"Next: {words(told.hint)}\n")
        raise typer.Exit(told.exit_code) from None


app = typer.Typer(
    cls=_Commands,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from deployer import __version__

        typer.echo(f"mlflow-deployer {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", help="Print the version.", callback=_version, is_eager=True),
) -> None:
    """Deploy an MLflow tracking server with logins, verify it and operate it.

    The default NAME is `mlflow`. Progress goes to standard error, results to standard output.

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not ready, 4 forbidden, 5 conflict, 6 drift.
    """


def main() -> None:
    """Run the command line and exit."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) < 3:
        pass  # a closed standard stream: later files and sockets must not get its number
    os.close(descriptor)
    sys.stdin, sys.stdout, sys.stderr = (
        stream or open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  # open until the end
        for stream, mode in ((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w"))
    )
    app()
