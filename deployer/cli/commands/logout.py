"""deployer logout: see deployer/operations/login.py."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from deployer.cli.login_options import Keyring, Username, address_in, require_no_place
from deployer.cli.options import Context, Format, Namespace, Output, TargetKind, TargetOption
from deployer.cli.progress import note
from deployer.core.errors import DeployerError, NotFound, UsageError

if TYPE_CHECKING:
    from deployer.core.credentials import Owner
    from deployer.targets import Target


def command(
    server: Annotated[
        str | None,
        typer.Argument(metavar="NAME|URL", help="Server of the login; default: the stored login.", show_default=False),
    ] = None,
    username: Username = None,
    keyring: Keyring = False,
    target: TargetOption = None,
    namespace: Namespace = None,
    context: Context = None,
    form: Output = Format.text,
) -> None:
    """Take the login that `deployer login` keeps away again, and give back the one before it."""
    from deployer.clients import keyring as rings
    from deployer.operations.login import drop, kept_owner

    if server is None or address_in(server) is not None:
        require_no_place(target, namespace, context)
    if username is not None and not keyring:
        raise UsageError(
            f"--username {username} needs --keyring: the file has room for one login", hint="add it, or leave both out"
        )
    if keyring:
        url, user = _in_keyring(server or "mlflow", username, target, namespace, context)
        gone = user is not None and rings.forget(url, user)
        _say(form, removed=gone, where="the keyring", whose=url, left=None)
        return
    owner = None if server is None else _owner(server, target, namespace, context)
    before = kept_owner()
    change = drop(owner)
    whose = before.url if change.changed and before else (owner.url or owner.name) if owner else ""
    left = before.url if before and not change.changed else None
    for text in change.notes:
        note(text)
    _say(form, removed=change.changed, where=str(change.path), whose=whose, left=left)


def _owner(server: str, target: TargetKind | None, namespace: str | None, context: str | None) -> Owner:
    """Return the owner that identifies a login: by address, or only by name if the server is gone."""
    from deployer.core.credentials import Owner
    from deployer.operations.records import endpoint_of

    address = address_in(server)
    if address is not None:
        return Owner(address)
    place = _place(server, target, namespace, context)
    try:
        return Owner(endpoint_of(place).url, server)
    except NotFound:
        return Owner("", server)


def _place(name: str, target: TargetKind | None, namespace: str | None, context: str | None) -> Target:
    from deployer.cli.where import find_target

    return find_target(name, target, namespace, context, quiet=True)


def _in_keyring(
    server: str, username: str | None, target: TargetKind | None, namespace: str | None, context: str | None
) -> tuple[str, str | None]:
    """Return the address and the user of a stored password; the user is None if the keyring knows none."""
    from deployer.clients import keyring as rings
    from deployer.operations.logins import login_of
    from deployer.operations.records import endpoint_of

    address = address_in(server)
    if address is not None:
        user = username or os.environ.get("MLFLOW_TRACKING_USERNAME") or rings.known_user(address)
        if user is None:
            raise UsageError("this keyring cannot tell whose password it keeps", hint="add --username NAME")
        return address, user
    place = _place(server, target, namespace, context)
    url = endpoint_of(place).url
    try:
        return url, username or rings.known_user(url) or login_of(place).username
    except DeployerError:
        return url, rings.known_user(url)


def _say(form: Format, *, removed: bool, where: str, whose: str, left: str | None) -> None:
    from deployer.cli import output

    if form is Format.json:
        output.print_json({"removed": removed, "address": whose or None})
    elif removed:
        print(f"The login for {whose} is gone from {where}.")
    elif left:
        print(f"Nothing to do: the login in {where} is for {left}, and was left there.")
    else:
        print(f"Nothing to do: deployer keeps no login{f' for {whose}' if whose else ''} in {where}.")
