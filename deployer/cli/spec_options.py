"""Makes a Spec from a spec file and flags."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from deployer.cli.flag_rules import implied_exposure, named, require_fitting
from deployer.core import databases, document
from deployer.core.errors import InvalidSpec, UsageError, one_line
from deployer.core.platform import DEFAULT_PROFILE, PROFILES, Platform
from deployer.core.secrets import MAX_PASSWORD, password_problem
from deployer.core.spec import API_VERSION, EXPOSURES, KIND, Spec
from deployer.core.stack import SecretRef

SPEC_FILE: Final = "a spec file"
COMMAND_LINE: Final = "the command line"
_STDIN: Final = "-"
_ONE_LINE: Final = "use a file with the password alone, in printable ASCII characters"


def read_limited(path: str, what: str) -> bytes:
    """Return the bytes of a regular file, a pipe, or standard input for `-`.

    At most MAX_BYTES + 1 bytes are read; the last one shows that the file is too long.

    Raises:
        UsageError: the file cannot be read.
    """

    def fail(reason: str) -> UsageError:
        hint = "`deployer init -f FILE` writes one to start from" if what == SPEC_FILE else "give the path of another"
        return UsageError(f"{_shown(path)} cannot be read as {what}: {reason}", hint=hint)

    try:
        if path == _STDIN:
            return sys.stdin.buffer.read(document.MAX_BYTES + 1)
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISFIFO(mode):
                raise fail("it is not a file")
            return file.read(document.MAX_BYTES + 1)
    except IsADirectoryError:
        raise fail("it is a directory") from None
    except FileNotFoundError:
        raise fail("there is no such file") from None
    except OSError as error:
        raise fail(error.strerror or "the system refuses") from None
    except ValueError:  # a NUL in the path
        raise fail("that is no path") from None


def spec_from(
    name: str | None,
    file: str | None,
    flags: Mapping[str, Any],
    stored: Spec | None,
    *,
    content: bytes | None = None,
    platform: Callable[[str | None], Platform] = lambda profile: PROFILES[profile or DEFAULT_PROFILE],
    command: str = "create",
) -> tuple[Spec, str]:
    """Return the Spec from the file and flags, or from the stored spec and flags; and a name for this source.

    `flags` maps dotted paths to values; None means that a flag was not given. `content` is the content of the file if
    it was read already. `platform` returns the platform for a profile. `command` is the command whose help explains the
    flags.

    Raises:
        UsageError: lists every mistake, by flag, or by line and path in the file.
    """
    raw = b""
    if file is not None:
        raw = content if content is not None else read_limited(file, SPEC_FILE)
        source = _shown(file)
        data = document.parse(raw, source)
    elif stored is not None:
        data, source = stored.document(), "the stored spec with these flags"
    else:
        data, source = {"apiVersion": API_VERSION, "kind": KIND}, COMMAND_LINE
    kept = file is None and stored is not None
    try:  # before merging: a flag must not hide a mistake in the file
        spec = document.validate(data, source, stored=kept)
    except InvalidSpec as error:
        raise document.located(error, raw) if file else error from None
    if name is not None and file is not None and "name" in (data.get("metadata") or {}) and spec.name != name:
        raise UsageError(
            f"{source} is about server {spec.name!r}, the command line about {name!r}", hint="leave one out"
        )
    merged, wanted = spec.document(), {**flags, "spec.exposure.type": implied_exposure(flags)}
    _switch(merged["spec"], wanted)
    for path, value in {**wanted, "metadata.name": name}.items():
        if value is not None:
            _set(merged, path.split("."), value)
    _complete(merged["spec"], platform)
    require_fitting({path: value for path, value in flags.items() if path in wanted}, merged["spec"])
    try:
        return document.validate(merged, source, stored=kept), source
    except InvalidSpec as error:
        raise named(error, {**flags, "metadata.name": name}, command) from None


def _switch(parts: dict[str, Any], flags: dict[str, Any]) -> None:
    """Drop the fields of the stored kind of exposure that the wanted kind does not have.

    Raises:
        UsageError: the change would drop an allow-list without --allow-everyone.
    """
    stored, wanted = parts.get("exposure") or {}, flags.get("spec.exposure.type")
    loses_list = wanted not in (None, "route") and stored.get("allowFrom")
    if loses_list and not flags.pop("spec.exposure.allowEveryone", None):
        raise UsageError(
            f"--expose {wanted} has no list of who may connect, and this server has one",
            hint="add --allow-everyone to give the list up",
        )
    if wanted is None and stored.get("type") == "none" and flags.get("spec.exposure.host"):
        parts["exposure"] = None  # a host asks for a public address: use the profile's default kind
    elif wanted in EXPOSURES and stored.get("type") not in (None, wanted):
        known = {field.alias for field in EXPOSURES[str(wanted)].model_fields.values()}
        parts["exposure"] = {key: value for key, value in stored.items() if key in known}


def _complete(parts: dict[str, Any], platform: Callable[[str | None], Platform]) -> None:
    """Set the kind of an exposure that has none to the profile's default kind."""
    exposure, profile = parts.get("exposure"), parts.get("profile")
    if exposure and "type" not in exposure and (profile is None or profile in PROFILES):
        exposures = platform(profile).exposures
        exposure["type"] = next((kind for kind in exposures if kind != "none"), "ingress")


def _set(data: dict[str, Any], path: list[str], value: Any) -> None:
    for key in path[:-1]:
        if data.get(key) is None:
            data[key] = {}
        data = data[key]
    data[path[-1]] = value


def password_from(path: str | None) -> str | None:
    """Return the password in a file (`-`: standard input) without the line ending; None without a file.

    Raises:
        UsageError: MLflow would not accept the password everywhere. The text never quotes it.
    """
    if path is None:
        return None
    text = only_line(path)
    if problem := password_problem(text):
        raise UsageError(f"{_shown(path)}: {problem}", hint="leave --password-file out and one is made for you")
    return text


def only_line(path: str) -> str:
    """Return the only line of a password file (`-`: standard input) without the line ending.

    Raises:
        UsageError: the file is no text, is too long, or has several lines. The text never quotes it.
    """
    raw = read_limited(path, "a password file")
    if len(raw) > document.MAX_BYTES:  # only the beginning was read
        raise UsageError(
            f"{_shown(path)} is too long: a password has at most {MAX_PASSWORD} characters", hint=_ONE_LINE
        )
    try:
        text = raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError(f"{_shown(path)}: the password is not text", hint=_ONE_LINE) from None
    if (count := len(text.split("\n"))) > 1:
        raise UsageError(f"{_shown(path)} has {count} lines, and a password is one line", hint=_ONE_LINE)
    return text


def _shown(path: str) -> str:
    return "standard input" if path == _STDIN else one_line(path) or repr(path)


def databases_from(path: str | None) -> dict[SecretRef, str]:
    """Return the URLs in a file (`-`: standard input) by their Secret keys; empty without a file.

    Raises:
        InvalidSpec: the file has mistakes. The text never quotes it.
    """
    return databases.read(read_limited(path, "a file with URLs of databases"), _shown(path)) if path is not None else {}


def write_private(path: Path, content: str) -> None:
    """Write a new file that only its owner can read.

    Raises:
        UsageError: the file exists already, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        raise UsageError(f"{path} exists already, and is never overwritten", hint="name another file") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}", hint="name another file") from None
