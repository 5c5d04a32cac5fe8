"""Options for logins: a server by name or address, user name and password; prompts for missing values."""

from __future__ import annotations

import os
import re
import sys
import urllib.parse
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deployer.core.errors import UsageError

if TYPE_CHECKING:
    from deployer.tracking.client import Login

_SCHEMES: Final = ("http://", "https://")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9a-fA-F:]+")

Username = Annotated[
    str | None, typer.Option("--username", metavar="NAME", help="User name; MLFLOW_TRACKING_USERNAME, or asked for.")
]
PasswordFile = Annotated[
    str | None,
    typer.Option(
        "--password-file", metavar="FILE", help="File with the password, - for standard input; otherwise asked for."
    ),
]
Keyring = Annotated[bool, typer.Option("--keyring", help="Use the system's keyring instead of ~/.mlflow/credentials.")]
AuthorityFile = Annotated[
    str | None,
    typer.Option("--ca-file", metavar="FILE", help="Certificate of a private authority, for a server by address."),
]


def address_in(text: str) -> str | None:
    """Return `text` as an address without trailing slashes; None if `text` is a name.

    Raises:
        UsageError: `text` looks like an address but is not valid.
    """
    if not text.lower().startswith(_SCHEMES):
        if "." in text or "/" in text or ":" in text:
            raise UsageError(f"{text!r} is neither a name nor an address", hint="an address begins with https://")
        return None
    try:
        parts = urllib.parse.urlsplit(text)
        good = bool(_HOST.fullmatch(parts.hostname or "")) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or not text.isprintable() or " " in text:
        raise UsageError("that is not a server's address", hint="give one such as https://mlflow.example.org")
    if "@" in parts.netloc:
        raise UsageError(
            "a user name or password does not belong into the address, where everybody can read it",
            hint="leave it out: it is asked for, or use --username and --password-file",
        )
    return f"{parts.scheme.lower()}://{parts.netloc}{parts.path.rstrip('/')}"


def require_no_place(target: object, namespace: str | None, context: str | None) -> None:
    """Check that no options select the place of a named server, because the server is given by address.

    Raises:
        UsageError: such an option was given.
    """
    for option, value in (("--target", target), ("--namespace", namespace), ("--context", context)):
        if value is not None:
            raise UsageError(
                f"{option} {value} needs the NAME of a server: an address says itself where it is",
                hint="give a NAME, or leave it out",
            )


def ask_login(username: str | None, password_file: str | None, url: str) -> Login:
    """Return a login for the server at `url` from options, environment variables or prompts.

    A password in the environment is used only if the user name and address in the environment, if set, match.

    Raises:
        UsageError: standard input is no terminal, or a value is not valid. The text never quotes a password.
    """
    from deployer.cli.spec_options import only_line
    from deployer.core.credentials import value_problem
    from deployer.core.secrets import username_problem
    from deployer.tracking.client import Login

    there = os.environ.get("MLFLOW_TRACKING_URI")
    ours = not there or there.rstrip("/") == url
    named = os.environ.get("MLFLOW_TRACKING_USERNAME") if ours else None
    name = username or named or _asked("User name", hidden=False)
    if problem := username_problem(name):
        raise UsageError(f"the user name {problem}", hint="give the one that the server knows with --username")
    if password_file is not None:
        password = only_line(password_file)
    else:
        fits = ours and (named or name) == name
        password = (fits and os.environ.get("MLFLOW_TRACKING_PASSWORD")) or _asked(f"Password of {name}", hidden=True)
    if problem := value_problem(password):
        raise UsageError(f"the password {problem}, so it cannot be an MLflow client's", hint="check how it was copied")
    return Login(name, password)


def _asked(what: str, *, hidden: bool) -> str:
    if not sys.stdin.isatty():
        option = "--password-file FILE, or - for standard input" if hidden else "--username"
        raise UsageError(f"{what.split(maxsplit=1)[0].lower()}: nobody can be asked for it here", hint=f"add {option}")
    return str(typer.prompt(what, hide_input=hidden, err=True))
