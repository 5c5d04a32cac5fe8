"""The flags that set fields of a spec. Each row makes an option of the named commands, its help and its errors."""

from __future__ import annotations

import inspect
import os
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Final

import typer

from deployer.cli.help import ARTIFACTS, CLUSTER, EXPOSURE, SERVER, THIS_MACHINE
from deployer.cli.parsing import whole_number
from deployer.core.spec.platform import PROFILES

Command = Callable[..., None]


@dataclass(frozen=True)
class Type:
    """How a flag is typed and read.

    - `annotation`: the type of the parameter, for typer
    - `metavar`: the name of the value in help; None for a flag without a value
    - `parser`: takes the name of the flag and returns the parser of its value; None if any text is a value
    - `value`: turns the parsed value into the value of the field; None means that the flag was not given
    """

    annotation: Any
    metavar: str | None = None
    parser: Callable[[str], Callable[[Any], Any]] | None = None
    value: Callable[[Any], Any] = lambda given: given


def text(metavar: str) -> Type:
    """Return the type of a flag that takes any text; the spec checks the text."""
    return Type(str | None, metavar)


def number(metavar: str, least: int, most: int) -> Type:
    """Return the type of a flag that takes a whole number."""
    return Type(int | None, metavar, lambda name: whole_number(name, least, most))


def program(metavar: str) -> Type:
    """Return the type of a flag that takes a program, by path or by name."""
    return Type(str | None, metavar, value=_absolute)


def items(metavar: str) -> Type:
    """Return the type of a flag that takes a list: separated by commas, or by repeating the flag."""
    return Type(list[str] | None, metavar, value=_separated)


def switch() -> Type:
    """Return the type of a flag without a value."""
    return Type(bool, value=lambda given: given or None)


@dataclass(frozen=True)
class Flag:
    """A flag that sets a field of the spec.

    - `path`: the field; `here`: the field that the flag sets for servers on this machine, if that is another one
    - `group`: the heading of the flag in the help of `commands`
    - `implies`: a further field, and the value that the flag gives it
    - `quoted`: whether errors quote the value; users may have typed a password where no password belongs
    """

    name: str
    path: str
    type: Type
    help: str
    group: str
    commands: tuple[str, ...] = ("create", "run")
    here: str | None = None
    implies: tuple[str, str] | None = None
    quoted: bool = True

    @property
    def parameter(self) -> inspect.Parameter:
        """The parameter from which typer makes the option."""
        parser = self.type.parser(self.name) if self.type.parser else None
        option = typer.Option(
            self.name, metavar=self.type.metavar, parser=parser, help=self.help, rich_help_panel=self.group
        )
        return inspect.Parameter(
            self.name.removeprefix("--").replace("-", "_"),
            inspect.Parameter.KEYWORD_ONLY,
            default=None if self.type.metavar else False,
            annotation=Annotated[self.type.annotation, option],
        )


def _absolute(python: str | None) -> str | None:
    """Return an interpreter's path that is valid in any working directory and with any PATH."""
    if python is None:
        return None
    if os.sep in python:
        return os.path.abspath(os.path.expanduser(python))
    return shutil.which(python) or python


def _separated(texts: list[str] | None) -> list[str] | None:
    return [item for text in texts for item in text.split(",")] if texts else None


_CREATE: Final = ("create",)
_LISTEN: Final = "Name or address to listen on; default 127.0.0.1."
FLAGS: Final = (
    Flag("--port", "spec.local.port", number("PORT", 1024, 65535), "TCP port on this machine.", THIS_MACHINE),
    Flag("--host", "spec.local.host", text("HOST"), _LISTEN, THIS_MACHINE, ("run",)),
    Flag("--python", "spec.local.python", program("PATH"), "Interpreter for the server's environment.", THIS_MACHINE),
    Flag("--mlflow-version", "spec.mlflow.version", text("VERSION"), "MLflow release.", SERVER),
    Flag("--workers", "spec.workers", number("COUNT", 1, 16), "Number of server processes; default 1.", SERVER),
    Flag(
        "--username",
        "spec.auth.adminUsername",
        text("NAME"),
        "The administrator's user name.",
        SERVER,
        quoted=False,  # anna:password
    ),
    Flag(
        "--default-permission",
        "spec.auth.defaultPermission",
        text("PERMISSION"),
        "NO_PERMISSIONS, READ, EDIT or MANAGE.",
        SERVER,
    ),
    Flag(
        "--bucket",
        "spec.artifacts.bucket",
        text("NAME"),
        "S3 bucket for the artifacts.",
        ARTIFACTS,
        implies=("spec.artifacts.type", "s3"),
    ),
    Flag(
        "--s3-endpoint",
        "spec.artifacts.endpoint",
        text("URL"),
        "URL of the S3 service; default Allas.",
        ARTIFACTS,
        quoted=False,  # https://key:secret@host
    ),
    Flag("--s3-region", "spec.artifacts.region", text("REGION"), "Region of the S3 service, if required.", ARTIFACTS),
    Flag("--s3-prefix", "spec.artifacts.prefix", text("PATH"), "Path inside the bucket.", ARTIFACTS),
    Flag(
        "--transfer",
        "spec.artifacts.transfer",
        text("WAY"),
        "proxied (through the server) or direct (client to S3).",
        ARTIFACTS,
    ),
    Flag("--profile", "spec.profile", text("PROFILE"), f"Kind of cluster: {', '.join(PROFILES)}.", CLUSTER, _CREATE),
    Flag("--expose", "spec.exposure.type", text("KIND"), "ingress, gateway, route or none.", EXPOSURE, _CREATE),
    Flag(
        "--host",
        "spec.exposure.host",
        text("HOST"),
        "Public host name; on this machine: name or address to listen on.",
        EXPOSURE,
        _CREATE,
        here="spec.local.host",
    ),
    Flag("--ingress-class", "spec.exposure.ingressClass", text("CLASS"), "Class of the Ingress.", EXPOSURE, _CREATE),
    Flag(
        "--tls-secret",
        "spec.exposure.tlsSecret",
        text("SECRET"),
        "Secret with the host's certificate.",
        EXPOSURE,
        _CREATE,
    ),
    Flag(
        "--gateway",
        "spec.exposure.gateway",
        text("NAMESPACE/NAME"),
        "Namespace and name of the Gateway.",
        EXPOSURE,
        _CREATE,
    ),
    Flag(
        "--allow-from",
        "spec.exposure.allowFrom",
        items("NETWORK"),
        "Network that may connect; repeatable, or with commas.",
        EXPOSURE,
        _CREATE,
    ),
    Flag(
        "--allow-everyone",
        "spec.exposure.allowEveryone",
        switch(),
        "Confirm that everybody may connect.",
        EXPOSURE,
        _CREATE,
    ),
    Flag(
        "--ingress-namespace",
        "spec.networkPolicy.ingressNamespace",
        text("NAMESPACE"),
        "Namespace of the ingress controller.",
        EXPOSURE,
        _CREATE,
    ),
    Flag("--volume-size", "spec.volume.size", text("SIZE"), "Size of the volume, such as 10Gi.", CLUSTER, _CREATE),
    Flag(
        "--storage-class",
        "spec.volume.storageClass",
        text("CLASS"),
        "Storage class of the volume.",
        CLUSTER,
        _CREATE,
    ),
)
# fields that an argument or an option with another value sets
_OTHERS: Final = {"metadata.name": "NAME", "spec.database.type": "--database-file"}
NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        **_OTHERS,
        **{flag.path: flag.name for flag in FLAGS},
        **{flag.here: flag.name for flag in FLAGS if flag.here},
        **{flag.implies[0]: flag.name for flag in FLAGS if flag.implies},
    }
)
"""The flag or argument that sets a field, by the path of the field."""
ALONE: Final = frozenset(
    {"spec.database.type", *(flag.path for flag in FLAGS if not flag.quoted or flag.type.metavar is None)}
)
"""The fields whose values errors never quote."""


def with_values(fields: Mapping[str, Any]) -> str:
    """Return flags that set fields of a spec, by the paths of the fields; None stands for a value that users choose."""
    rows = {flag.path: flag for flag in FLAGS}
    typed: list[str] = []
    for path, value in fields.items():
        typed.append(rows[path].name)
        if metavar := rows[path].type.metavar:
            typed.append(metavar if value is None else str(value))
    return shlex.join(typed)


def with_flags(command: str, function: Command) -> Command:
    """Return `function` with an option for each flag of `command`.

    `function` receives the values of these options as `flags`, by the paths of their fields; None means not given.
    """
    rows = [flag for flag in FLAGS if command in flag.commands]
    if not rows:
        return function

    def called(**given: Any) -> None:
        flags: dict[str, Any] = {}
        for flag in rows:
            value = flag.type.value(given.pop(flag.parameter.name))
            flags[flag.path] = value
            if flag.implies:
                path, implied = flag.implies
                flags[path] = implied if value else None
        function(flags=flags, **given)

    own = inspect.signature(function, eval_str=True).parameters.values()
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own if each.name != "flags"]
    vars(called)["__signature__"] = inspect.Signature([*(flag.parameter for flag in rows), *parameters])
    return called


def on_this_machine(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the flags by the fields that they set for a server on this machine."""
    elsewhere = {flag.path: flag.here for flag in FLAGS if flag.here}
    return {elsewhere.get(path, path): value for path, value in flags.items()}
