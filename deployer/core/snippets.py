"""Lines that point MLflow clients to a server, in the language of each environment. They contain no password.

The lines are ready to use. Where they need the password, they run the command that prints it.
"""

from __future__ import annotations

import urllib.parse
from dataclasses import dataclass
from typing import Final

from deployer.core import quoting
from deployer.core.address import at_loopback

URI: Final = "MLFLOW_TRACKING_URI"
USERNAME: Final = "MLFLOW_TRACKING_USERNAME"
PASSWORD: Final = "MLFLOW_TRACKING_PASSWORD"
CA: Final = "MLFLOW_TRACKING_SERVER_CERT_PATH"
NO_PROXY: Final = ("NO_PROXY", "no_proxy")  # programs differ in which of the two they read
IN_CONTAINER: Final = "/etc/mlflow-ca.pem"


@dataclass(frozen=True)
class Client:
    """What a client needs to know.

    - `program`: the command that runs deployer
    - `settings`: the variables that deployer needs to find the server from any shell
    - `around`: the value of NO_PROXY on this machine; None if clients need no entry for the server there
    """

    name: str
    url: str
    username: str
    program: tuple[str, ...] = ("deployer",)
    options: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    ca_file: str | None = None
    around: str | None = None
    windows: tuple[str, ...] = ()  # prefix that runs a Linux program from Windows, if this Linux runs inside Windows

    @property
    def host(self) -> str:
        """The server's host name."""
        return urllib.parse.urlsplit(self.url).hostname or ""

    @property
    def at_loopback(self) -> bool:
        """True if only this machine can reach the server."""
        return at_loopback(self.host)

    @property
    def in_cluster(self) -> bool:
        """True if only pods can reach the server."""
        return self.host.endswith(".svc")

    def words(self, command: str) -> tuple[str, ...]:
        """Return the words of a deployer command for this server."""
        return (*self.program, command, self.name, *self.options)

    def line(self, command: str) -> str:
        """Return the command as one line for POSIX shells, which runs anywhere."""
        settings = [f"{name}={quoting.shell(value)}" for name, value in self.settings]
        return " ".join([*settings, *map(quoting.shell, self.words(command))])

    def foreign_words(self, command: str) -> tuple[str, ...]:
        """Return the words of the command for shells that cannot set a variable for a single command."""
        settings = ("env", *(f"{name}={value}" for name, value in self.settings)) if self.settings else ()
        return (*self.windows, *settings, *self.words(command))


def shell(client: Client) -> list[str]:
    """Return lines for sh, bash, dash and zsh."""
    lines = [
        f"export {URI}={quoting.shell(client.url)}",
        f"export {USERNAME}={quoting.shell(client.username)}",
        f'export {PASSWORD}="$({client.line("show-password")})"',
    ]
    return lines + shell_way(client)


def shell_way(client: Client) -> list[str]:
    """Return the lines that set certificate and proxy, for POSIX shells."""
    lines = []
    if client.ca_file:
        lines.append(f"export {CA}={quoting.shell(client.ca_file)}")
    if client.around is not None:
        host = quoting.shell_inside(client.host)
        lines.append("export " + " ".join(f'{name}="{host}${{{name}:+,${name}}}"' for name in NO_PROXY))
    return lines


def fish(client: Client) -> list[str]:
    """Return lines for fish."""
    command = " ".join(map(quoting.fish, client.foreign_words("show-password")))
    lines = [
        f"set -gx {URI} {quoting.fish(client.url)}",
        f"set -gx {USERNAME} {quoting.fish(client.username)}",
        f"set -gx {PASSWORD} ({command} | string collect)",
    ]
    if client.ca_file:
        lines.append(f"set -gx {CA} {quoting.fish(client.ca_file)}")
    if client.around is not None:
        lines += [f"set -gx {name} (string join , {quoting.fish(client.host)} ${name})" for name in NO_PROXY]
    return lines


def powershell(client: Client) -> list[str]:
    """Return lines for PowerShell 5 and later."""
    command = " ".join(map(quoting.powershell, client.foreign_words("show-password")))
    lines = [
        f"$env:{URI} = {quoting.powershell(client.url)}",
        f"$env:{USERNAME} = {quoting.powershell(client.username)}",
        f"$env:{PASSWORD} = & {command}",
    ]
    if client.ca_file:
        lines.append(f"$env:{CA} = {quoting.powershell(client.ca_file)}")
    if client.around is not None:
        host = quoting.powershell(client.host)
        lines.append(f"$env:NO_PROXY = (@({host}, $env:NO_PROXY) | Where-Object {{ $_ }}) -join ','")
    return lines


def cmd(client: Client) -> list[str]:
    """Return a batch file for cmd.exe."""
    command = quoting.cmd_command(client.foreign_words("show-password"))
    lines = [
        "@rem Save as mlflow.cmd, then type: call mlflow.cmd",
        "@" + quoting.cmd_set(URI, client.url),
        "@" + quoting.cmd_set(USERNAME, client.username),
        # no delimiters; the comment character is a space, which begins no password: the loop reads the whole line
        f"""@for /f "eol= delims=" %%p in ('{command}') do @set "{PASSWORD}=%%p\"""",
    ]
    if client.ca_file:
        lines.append("@" + quoting.cmd_set(CA, client.ca_file))
    if client.around is not None:
        first = quoting.cmd_set("NO_PROXY", client.host)
        lines += [f'@if defined NO_PROXY {first[:-1]},%NO_PROXY%"', f"@if not defined NO_PROXY {first}"]
    return lines


def jupyter(client: Client) -> list[str]:
    """Return lines for a notebook cell, or for any Python program."""
    words = ", ".join(map(quoting.python, client.words("show-password")))
    settings = "".join(f", {quoting.python(k)}: {quoting.python(v)}" for k, v in client.settings)
    environment = f", env={{**os.environ{settings}}}" if settings else ""
    lines = [
        "import os",
        "import subprocess",
        "",
        f'os.environ["{URI}"] = {quoting.python(client.url)}',
        f'os.environ["{USERNAME}"] = {quoting.python(client.username)}',
        f'os.environ["{PASSWORD}"] = subprocess.run(',
        f"    [{words}]{environment}, stdout=subprocess.PIPE, text=True, check=True",
        ').stdout.removesuffix("\\n")',
    ]
    if client.ca_file:
        lines.append(f'os.environ["{CA}"] = {quoting.python(client.ca_file)}')
    if client.around is not None:
        lines += [
            f"for name in {NO_PROXY}:",
            f'    os.environ[name] = ",".join(filter(None, [{quoting.python(client.host)}, os.environ.get(name)]))',
        ]
    return lines


def dotenv(client: Client) -> list[str]:
    """Return a .env file. Such a file runs no command, so it has no login; MLflow finds the login itself."""
    lines = [
        f"# The login is not here: `{quoting.comment(client.line('login'))}` keeps it in ~/.mlflow/credentials,",
        "# where MLflow looks by itself. In a container, pass it on by name: --env MLFLOW_TRACKING_PASSWORD",
        f"{URI}={quoting.dotenv(client.url)}",
    ]
    if client.ca_file:
        lines.append(f"{CA}={quoting.dotenv(client.ca_file)}")
    if client.around is not None:
        value = quoting.dotenv(",".join(filter(None, (client.host, client.around))))
        lines += [f"{name}={value}" for name in NO_PROXY]
    return lines


def docker(client: Client) -> list[str]:
    """Return lines for POSIX shells. They pass the login by variable name, so it is in no argument list."""
    options = [f"--env {name}" for name in (URI, USERNAME, PASSWORD)]
    if client.ca_file:
        source = quoting.csv_field(f"source={client.ca_file}")
        options.append(f"--mount {quoting.shell(f'type=bind,{source},target={IN_CONTAINER},readonly')}")
        options.append(f"--env {CA}={IN_CONTAINER}")
    if client.around is not None:
        options.append(" ".join(f"--env {name}" for name in NO_PROXY))
    if client.at_loopback:
        options.append("--network host")  # in a container, 127.0.0.1 is the container itself
    lines = shell(client)
    lines.append("# the password is passed on by name, so it stands in no argument list; say which image: IMAGE=...")
    lines.append("docker run --rm \\")
    lines += [f"  {option} \\" for option in options]
    lines.append('  "${IMAGE:?set it to the image of your training}" python train.py')
    return lines
