"""deployer login: see deployer/operations/login.py."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deployer.cli.login_options import (
    AuthorityFile,
    Keyring,
    PasswordFile,
    Username,
    address_in,
    ask_login,
    require_no_place,
)
from deployer.cli.options import Context, Format, Namespace, Output, TargetOption, Timeout
from deployer.cli.progress import note
from deployer.core.clients.snippets import PASSWORD, URI, USERNAME, Client, shell_way
from deployer.core.errors import UsageError

if TYPE_CHECKING:
    from deployer.operations.login import Kept
    from deployer.targets import Target
    from deployer.tracking.client import Login
    from deployer.tracking.login import User

_WINNERS: Final = (USERNAME, PASSWORD)  # mlflow/utils/credentials.py: these variables override the file


def command(
    server: Annotated[
        str, typer.Argument(metavar="NAME|URL", help="Name of a server, or address of any MLflow server.")
    ] = ("mlflow"),
    username: Username = None,
    password_file: PasswordFile = None,
    keyring: Keyring = False,
    ca_file: AuthorityFile = None,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    timeout: Timeout = 60,
    form: Output = Format.text,
) -> None:
    """Check a login and keep it in ~/.mlflow/credentials, where MLflow looks for it; print what else to export."""
    from deployer.cli.client import client_at, client_of
    from deployer.cli.where import find_target
    from deployer.core.clients.credentials import Owner
    from deployer.operations.login import keep, keep_in_keyring, reachable
    from deployer.operations.records import endpoint_of
    from deployer.targets import Deadline
    from deployer.tracking.client import Endpoint
    from deployer.tracking.login import check

    address = address_in(server)
    if address is None:
        if ca_file is not None:
            raise UsageError(
                f"--ca-file {ca_file} needs the URL of a server", hint="leave it out: that of a named server is known"
            )
        place = find_target(server, target, namespace, context, quiet=True)
        login = _member(place, username, password_file)
        with reachable(place, Deadline.after(timeout)) as endpoint:
            user = check(endpoint, login)
        client, owner = client_of(place, endpoint_of(place), login.username), Owner(endpoint_of(place).url, server)
    else:
        require_no_place(target, namespace, context)
        endpoint = Endpoint(address, _authority(ca_file))
        login = ask_login(username, password_file, address)
        user = check(endpoint, login)
        client, owner = client_at(endpoint, login.username), Owner(address)
    kept = keep_in_keyring(owner, login) if keyring else keep(owner, login)
    _report(client, user, kept, form)


def _member(place: Target, username: str | None, password_file: str | None) -> Login:
    """Return the stored login, or the login of a named member."""
    from deployer.operations.logins import login_of
    from deployer.operations.records import endpoint_of

    if username is None and password_file is not None:
        raise UsageError(
            "--password-file needs --username, which says whose password it is", hint="add --username NAME"
        )
    return login_of(place) if username is None else ask_login(username, password_file, endpoint_of(place).url)


def _authority(ca_file: str | None) -> str | None:
    from deployer.tracking.client import private_authority

    if ca_file is not None and not Path(ca_file).is_file():
        raise UsageError(f"--ca-file {ca_file}: there is no such file", hint="give the path of a certificate in PEM")
    return ca_file or private_authority()


def _report(client: Client, user: User, kept: Kept, form: Format) -> None:
    from deployer.cli import output

    lines = [f"export {URI}={shlex.quote(client.url)}"]
    if kept.keyring:
        reads = f"{_keyring_command()} get {shlex.quote(client.url)} {shlex.quote(user.username)}"
        lines += [f"export {USERNAME}={shlex.quote(user.username)}", f'export {PASSWORD}="$({reads})"']
    elif any(os.environ.get(name) for name in _WINNERS):
        lines.append(f"unset {' '.join(_WINNERS)}")
    lines += shell_way(client)
    for text in _notes(client, user, kept):
        note(text)
    if form is Format.json:
        output.print_json(
            {
                "address": client.url,
                "username": user.username,
                "admin": user.admin,
                "file": None if kept.keyring or kept.file is None else str(kept.file),
                "keyring": kept.keyring,
                "changed": kept.changed,
                "lines": lines,
            }
        )
        return
    print("\n".join(lines))


def _notes(client: Client, user: User, kept: Kept) -> list[str]:
    who = f"user {user.username!r}{', an administrator' if user.admin else ''}"
    notes = [f"{client.url} accepts {who}."]
    if kept.keyring:
        notes.append(f"The password is in the keyring ({kept.keyring}).")
        if kept.file:
            notes.append(f"It was taken out of {kept.file}.")
    elif kept.changed:
        notes.append(f"The login is in {kept.file}, which only you can read. `deployer logout` removes it.")
    else:
        notes.append(f"The login is in {kept.file} already.")
    if kept.before:
        notes.append(f"It took the place of the login for {kept.before}: the file has room for one server.")
    if kept.foreign:
        notes.append("The login that was there is kept in the file; `deployer logout` gives it back.")
    notes += kept.notes
    if client.url.startswith("http://") and not client.at_loopback and not client.in_cluster:
        notes.append("Warning: this address is http, so anybody on the way can read the password. Use https.")
    if not kept.keyring and any(os.environ.get(name) for name in _WINNERS):
        notes.append(f"{' and '.join(_WINNERS)} are set in this shell and win over the file: see the unset line.")
    return [*notes, "Paste into the shell where your training runs:"]


def _keyring_command() -> str:
    beside = Path(sys.executable).with_name("keyring")
    if shutil.which("keyring"):
        return "keyring"
    return shlex.quote(str(beside)) if beside.exists() else f"{shlex.quote(sys.executable)} -m keyring"
