"""What MLflow clients need from this machine: how to call deployer here, and which proxy to bypass."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import sys
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Final

from deployer.cli.typed import place_options
from deployer.core.clients.job_scripts import FORMS
from deployer.core.clients.snippets import Client
from deployer.core.errors import UsageError
from deployer.core.quoting import Unquotable
from deployer.targets import Target
from deployer.targets.local.store import state_home
from deployer.tracking.client import Endpoint

_PROGRAM: Final = "deployer"


def client_of(target: Target, endpoint: Endpoint, username: str) -> Client:
    """Return what clients of a server of deployer need.

    The result also works in a shell with another PATH, XDG_STATE_HOME or KUBECONFIG.
    """
    if target.capabilities.stored_here:
        return _client(target.name, endpoint, username, (), _state_setting())
    files = os.environ.get("KUBECONFIG") or ""
    whole = os.pathsep.join(os.path.abspath(file) for file in files.split(os.pathsep) if file)
    settings = (("KUBECONFIG", whole),) if whole else ()
    return _client(target.name, endpoint, username, place_options(target.ref), settings)


def client_at(endpoint: Endpoint, username: str) -> Client:
    """Return what clients of any other server need; the server's address replaces its name."""
    return _client(endpoint.url, endpoint, username, (), ())


def _client(
    name: str, endpoint: Endpoint, username: str, options: tuple[str, ...], settings: tuple[tuple[str, str], ...]
) -> Client:
    distribution = os.environ.get("WSL_DISTRO_NAME")
    client = Client(
        name,
        endpoint.url,
        username,
        _own_words(anywhere=True),
        options,
        settings,
        os.path.abspath(endpoint.ca_file) if endpoint.ca_file else None,
        windows=("wsl.exe", "-d", distribution, "-e") if distribution else (),
    )
    # all other servers are reached through the proxy, by deployer and by clients
    near = endpoint.direct or client.at_loopback or client.in_cluster
    if near and urllib.request.getproxies() and not urllib.request.proxy_bypass(client.host):
        around = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        client = replace(client, around=around)
    return client


def lines_for(form: str, client: Client) -> list[str]:
    """Return the lines in one form.

    Raises:
        UsageError: the form cannot hold a value.
    """
    try:
        return FORMS[form](client)
    except Unquotable as problem:
        raise UsageError(
            f"--format {form} cannot hold what this server needs: {problem}", hint="take another form"
        ) from None


def own_command() -> str:
    """Return the command that calls this program in the current shell."""
    return shlex.join(_own_words(anywhere=False))


def _own_words(*, anywhere: bool) -> tuple[str, ...]:
    here = Path(sys.argv[0]).absolute()
    if here.name != _PROGRAM:  # python -m deployer
        return (sys.executable, "-m", "deployer")
    on_path = None if anywhere else shutil.which(_PROGRAM)
    return (_PROGRAM if on_path and os.path.realpath(on_path) == os.path.realpath(here) else str(here),)


def _state_setting() -> tuple[tuple[str, str], ...]:
    """Return XDG_STATE_HOME if its default in another shell of this user would be another directory."""
    try:
        usual = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".local" / "state"
    except KeyError:  # a user id without an account, as in containers
        usual = None
    actual = state_home()
    return () if actual == usual else (("XDG_STATE_HOME", str(actual)),)
