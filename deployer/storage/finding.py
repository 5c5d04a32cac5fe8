"""Finds S3 keys in their usual places: environment variables, AWS files, s3cmd and rclone. Never shows a secret."""

from __future__ import annotations

import configparser
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import urlsplit

from deployer.core.errors import NotFound, one_line
from deployer.core.remedies import Remedy
from deployer.core.spec.fields import endpoint_problem

_LARGEST: Final = 1 << 20
ENVIRONMENT: Final = "the environment"
_AWS: Final = "https://s3.amazonaws.com"
# the form of Amazon's access keys; other services use other forms
_OF_AWS: Final = re.compile("A[KS]IA[A-Z2-7]{16}")
_KEY: Final = re.compile("[!-~]{1,256}")
# settings of AWS profiles that give temporary keys or run another program
_BORROWED: Final = ("aws_session_token", "role_arn", "credential_process", "sso_session", "sso_start_url")


@dataclass(frozen=True)
class Keys:
    """A pair of keys, their source, and their service if the source names one."""

    source: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    endpoint: str | None = None
    region: str | None = None


@dataclass(frozen=True)
class Passed:
    """A source without keys that a server could use."""

    source: str
    reason: str


@dataclass(frozen=True)
class Findings:
    """All findings, the most specific source first."""

    keys: tuple[Keys, ...]
    passed: tuple[Passed, ...]

    def for_endpoint(self, endpoint: str) -> Keys:
        """Return the keys for a service, else the first keys without a service.

        Keys in the environment without a service come first.

        Raises:
            NotFound: no such keys; the message lists the findings.
        """
        said = [keys for keys in self.keys if keys.source == ENVIRONMENT and not keys.endpoint]
        same = [keys for keys in self.keys if keys.endpoint and _same(keys.endpoint, endpoint)]
        unnamed = [keys for keys in self.keys if not keys.endpoint]
        for keys in (*said, *same, *unnamed):
            return keys
        others = "".join(f"\n  {keys.source}: keys for {keys.endpoint}" for keys in self.keys)
        others += "".join(f"\n  {passed.source}: {passed.reason}" for passed in self.passed)
        raise NotFound(
            f"no S3 keys for {endpoint} in the environment, ~/.aws, ~/.s3cfg or rclone.conf{others}",
            hint=Remedy.FIND_S3_KEYS,
        )


class _NotUsable(Exception):
    """The reason why the keys of a source cannot be used; quotes no value."""


def find(environment: Mapping[str, str], home: Path) -> Findings:
    """Search all sources, in the order of the AWS tools, then those of s3cmd and rclone."""
    keys: list[Keys] = []
    passed: list[Passed] = []
    for source, found in _places(environment, home):
        if isinstance(found, Keys):
            keys.append(found)
        elif found:
            passed.append(Passed(source, found))
    return Findings(tuple(keys), tuple(passed))


_Place = tuple[str, Keys | str | None]


def _places(environment: Mapping[str, str], home: Path) -> Iterator[_Place]:
    """Yield each source with its keys, the reason why they cannot be used, or None."""
    yield from _attempt(ENVIRONMENT, lambda: _of_environment(environment))
    yield from _of_aws(environment, home)
    path = _named(environment, home, "S3CMD_CONFIG", home / ".s3cfg")
    yield from _in_file(path, home, _of_s3cmd)
    configured = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "rclone" / "rclone.conf"
    found = (configured, home / ".rclone.conf")
    named = _named(environment, home, "RCLONE_CONFIG", configured)
    for path in found if named == configured else (named,):
        yield from _in_file(path, home, _of_rclone)


def _named(environment: Mapping[str, str], home: Path, variable: str, default: Path) -> Path:
    """Return the file that a variable names; expand `~` and variables in it as the AWS tools do."""
    text = Template(environment.get(variable) or "").safe_substitute({"HOME": str(home), **environment})
    if text == "~" or text.startswith("~/"):
        text = f"{home}{text[1:]}"
    return Path(text) if text else default


def _of_environment(environment: Mapping[str, str]) -> Keys | None:
    access, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if not access and not secret:
        return None
    if environment.get("AWS_SESSION_TOKEN"):
        raise _NotUsable("temporary keys (AWS_SESSION_TOKEN): a server needs some that stay valid")
    endpoints = ("MLFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    regions = ("AWS_REGION", "AWS_DEFAULT_REGION")
    return _keys(
        ENVIRONMENT,
        access,
        secret,
        next(filter(None, map(environment.get, endpoints)), None),
        next(filter(None, map(environment.get, regions)), None),
    )


def _of_aws(environment: Mapping[str, str], home: Path) -> Iterator[_Place]:
    profile = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or "default"
    credentials = _named(environment, home, "AWS_SHARED_CREDENTIALS_FILE", home / ".aws" / "credentials")
    config = _named(environment, home, "AWS_CONFIG_FILE", home / ".aws" / "config")
    section = profile if profile == "default" else f"profile {profile}"
    settings: Mapping[str, str] = {}
    services: Mapping[str, str] = {}
    try:
        parsed = _ini(config)
        settings = _section(parsed, section)
        services = _nested(_section(parsed, f"services {settings.get('services', '')}").get("s3", ""))
    except FileNotFoundError:
        pass
    except _NotUsable as error:
        yield f"{_shown(config, home)}", str(error)
    endpoint = services.get("endpoint_url") or settings.get("endpoint_url")
    for path, name in ((credentials, profile), (config, section)):
        source = f"{_shown(path, home)} [{one_line(name)}]"

        def read(path: Path = path, name: str = name, source: str = source) -> Keys | None:
            values = _section(_ini(path), name)
            access, secret = values.get("aws_access_key_id"), values.get("aws_secret_access_key")
            borrowed = [option for option in _BORROWED if values.get(option)]
            if borrowed:
                raise _NotUsable(f"temporary keys ({borrowed[0]}): a server needs some that stay valid")
            if not access and not secret:
                return None
            own = values.get("endpoint_url") or endpoint or (_AWS if _OF_AWS.fullmatch(access or "") else None)
            return _keys(source, access, secret, own, values.get("region") or settings.get("region"))

        yield from _attempt(source, read)


def _of_s3cmd(parsed: configparser.RawConfigParser, source: str) -> Iterator[_Place]:
    values = _section(parsed, "default")
    access, secret = values.get("access_key"), values.get("secret_key")
    if values.get("access_token"):
        yield source, "temporary keys (access_token): a server needs some that stay valid"
    elif access or secret:
        scheme = "http" if values.get("use_https", "true").lower() in {"false", "no", "off", "0"} else "https"
        host = values.get("host_base") or ""
        region = values.get("bucket_location") or ""
        region = "" if region.upper() in {"", "US"} else region  # s3cmd's value for no region
        yield from _attempt(
            source, lambda: _keys(source, access, secret, f"{scheme}://{host}" if host else _AWS, region)
        )


def _of_rclone(parsed: configparser.RawConfigParser, source: str) -> Iterator[_Place]:
    for name in parsed.sections():
        values = _section(parsed, name)
        access, secret = values.get("access_key_id"), values.get("secret_access_key")
        if values.get("type") != "s3" or not (access or secret):
            continue
        place = f"{source} [{one_line(name)}]"
        if values.get("session_token"):
            yield place, "temporary keys (session_token): a server needs some that stay valid"
            continue
        endpoint = values.get("endpoint") or _AWS
        if "://" not in endpoint:
            endpoint = f"https://{endpoint}"

        def read(
            place: str = place,
            pair: tuple[str | None, str | None] = (access, secret),
            where: tuple[str | None, str | None] = (endpoint, values.get("region")),
        ) -> Keys:
            return _keys(place, *pair, *where)

        yield from _attempt(place, read)


def _keys(source: str, access: str | None, secret: str | None, endpoint: str | None, region: str | None) -> Keys:
    if not access or not secret:
        raise _NotUsable("has one half of a pair of keys only")
    if not _KEY.fullmatch(access) or not _KEY.fullmatch(secret):
        raise _NotUsable("what it has for keys cannot be sent: more than 256 characters, blanks or not ASCII")
    if endpoint and endpoint_problem(endpoint):
        raise _NotUsable(f"its endpoint {endpoint_problem(endpoint)}")
    if region and not re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9_]{0,63}", region):
        raise _NotUsable("its region is none")
    return Keys(source, access, secret, endpoint.rstrip("/") if endpoint else None, region or None)


def _same(one: str, other: str) -> bool:
    def parts(url: str) -> tuple[str, str | None, int]:
        split = urlsplit(url)
        return split.scheme, split.hostname, split.port or (443 if split.scheme == "https" else 80)

    return parts(one) == parts(other)


def _attempt(source: str, read: Callable[[], Keys | None]) -> Iterator[_Place]:
    try:
        yield source, read()
    except FileNotFoundError:
        return
    except _NotUsable as error:
        yield source, str(error)


def _in_file(
    path: Path, home: Path, read: Callable[[configparser.RawConfigParser, str], Iterator[_Place]]
) -> Iterator[_Place]:
    source = _shown(path, home)
    try:
        yield from read(_ini(path), source)
    except FileNotFoundError:
        return
    except _NotUsable as error:
        yield source, str(error)


def _ini(path: Path) -> configparser.RawConfigParser:
    """Parse a file into sections of options; option names become lower-case, as in all these programs.

    Raises:
        FileNotFoundError: the file does not exist.
        _NotUsable: the file cannot be read; quotes nothing of it.
    """
    text = _text(path)
    if "RCLONE_ENCRYPT_V" in text:
        raise _NotUsable("is encrypted")
    parser = configparser.RawConfigParser(strict=False, default_section="\0", comment_prefixes=("#", ";"))
    try:
        parser.read_string(text)
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or next(iter(getattr(error, "errors", [])), (None,))[0]
        raise _NotUsable(f"is no configuration file (line {line})" if line else "is no configuration file") from None
    return parser


def _text(path: Path) -> str:
    try:
        # O_NONBLOCK: a pipe without a writer must not block
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError from None
    except (OSError, ValueError) as error:
        raise _NotUsable(f"cannot be read: {getattr(error, 'strerror', None) or 'not a path'}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _NotUsable("is not a file")
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise _NotUsable("is larger than 1 MiB")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _NotUsable("is not UTF-8") from None


def _section(parsed: configparser.RawConfigParser, name: str) -> Mapping[str, str]:
    return {key: value or "" for key, value in parsed.items(name)} if parsed.has_section(name) else {}


def _nested(text: str) -> Mapping[str, str]:
    """Return the indented settings of one service in `~/.aws/config`."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {key.strip(): value.strip() for key, sign, value in pairs if sign}


def _shown(path: Path, home: Path) -> str:
    return one_line(f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path))


def summary(findings: Findings, chosen: Keys) -> Sequence[str]:
    """Return one line per source for people, the chosen keys first."""
    others = [keys for keys in findings.keys if keys is not chosen]
    lines = [f"S3 keys from {chosen.source}"]
    lines += [f"not used: {keys.source} (for {keys.endpoint or 'no service in particular'})" for keys in others]
    return [*lines, *(f"not used: {passed.source} ({passed.reason})" for passed in findings.passed)]
