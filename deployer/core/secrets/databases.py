"""Reads, checks, compares and replaces the URLs of external databases. They hold passwords and are never shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

from deployer.core.errors import InvalidSpec, Problem
from deployer.core.secrets.references import SecretRef

TRACKING_DATABASE: Final = SecretRef("server", "tracking-database-url")
AUTH_DATABASE: Final = SecretRef("server", "auth-database-url")
DATABASES: Final[Mapping[str, SecretRef]] = MappingProxyType({"tracking": TRACKING_DATABASE, "auth": AUTH_DATABASE})
# where the proven URLs are kept until the new ones are proven
REPLACED: Final[Mapping[SecretRef, SecretRef]] = MappingProxyType(
    {ref: SecretRef(ref.secret, f"{ref.key}.replaced") for ref in DATABASES.values()}
)
FORM: Final = "postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
HINT: Final = f"its two lines are: tracking = {FORM} and auth = {FORM}"

_MAX_BYTES: Final = 64 << 10
# newer versions of SQLAlchemy use psycopg 3 for plain `postgresql`, and servers do not have psycopg 3
_DRIVER: Final = "postgresql+psycopg2"
_SCHEMES: Final = frozenset({"postgresql", "postgres", _DRIVER})
_PORT: Final = 5432
# libpq parameters for values before the `?`; as query parameters they would silently take precedence
_ELSEWHERE: Final = frozenset({"host", "hostaddr", "port", "dbname", "user", "password", "service", "servicefile"})


def read(raw: bytes, source: str) -> dict[SecretRef, str]:
    """Return the URLs in a file of lines `tracking = URL` and `auth = URL`; lines that begin with # are comments.

    Raises:
        InvalidSpec: with every mistake and its line. The error names `source` and quotes nothing of the file.
    """
    found: dict[SecretRef, str] = {}
    problems = tuple(_read(raw, found))
    if problems:
        raise InvalidSpec(source, problems, hint=HINT)
    return found


def _read(raw: bytes, found: dict[SecretRef, str]) -> Iterator[Problem]:
    if len(raw) > _MAX_BYTES:
        yield Problem("", f"larger than {_MAX_BYTES // 1024} KiB, so not a file of two URLs")
        return
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        yield Problem("", f"not UTF-8 text (byte {error.start})")
        return
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        key, _, url = (part.strip() for part in text.partition("="))
        if key not in DATABASES:  # the text may be a password
            yield Problem(f"line {number}", f"does not begin with {' or '.join(f'`{name} =`' for name in DATABASES)}")
        elif key in seen:
            yield Problem(f"line {number}", f"{key} stands here twice")
        elif problem := url_problem(url):
            yield Problem(f"line {number}", f"the URL {problem}")
        else:
            found[DATABASES[key]] = _with_driver(url)
        seen.add(key)
    for name in DATABASES:
        if name not in seen:
            yield Problem(name, "is missing")


def url_problem(url: str) -> str | None:
    """Return why `url` cannot be the URL of a database, or None. Quotes nothing of the URL.

    urllib and SQLAlchemy (sqlalchemy/engine/url.py `_parse_url`) split every accepted URL in the same way.
    """
    if not re.fullmatch("[!-~]+", url):
        return f"must be printable ASCII without blanks, such as {FORM}"
    if url.partition("://")[0] not in _SCHEMES:
        return f"must be that of a PostgreSQL, such as {FORM}"
    escape = "; in names and passwords, each of @ : / ? # % is written as %40 %3A %2F %3F %23 %25"
    if re.search("%(?![0-9A-Fa-f]{2})", url) or "#" in url:
        return f"has a character that means something else in a URL{escape}"
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname and parts.username) and parts.port != 0 and parts.netloc.count("@") == 1
    except ValueError:
        sound = False
    if not sound or "," in parts.netloc.rpartition("@")[2]:
        return f"must name a user and one host, such as {FORM}{escape}"
    if not re.fullmatch(r"/[A-Za-z0-9_.-]+", parts.path):
        return "must name a database after the host, in letters, digits, '_', '.' and '-'"
    if _ELSEWHERE & {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)}:
        return f"must not name host, port, database or login after the ?, but before: {FORM}"
    return None


def _with_driver(url: str) -> str:
    return f"{_DRIVER}://{url.partition('://')[2]}"


def place(url: str) -> str:
    """Return what identifies the database of a URL: host, port, name and schema. Returns an invalid URL unchanged."""
    if url_problem(url):
        return url
    parts = urlsplit(url)
    # `options` can choose a schema, and each schema has its own tables
    options = "".join(value for key, value in parse_qsl(parts.query) if key == "options")
    return f"{parts.hostname}:{parts.port or _PORT}{parts.path}?{options}"


@dataclass(frozen=True)
class Database:
    """The parts of a URL. `options` are libpq parameters, such as `sslmode`."""

    host: str
    port: int
    name: str
    user: str
    password: str = field(repr=False)
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, url: str) -> Database:
        """Return the parts of a URL that has no `url_problem`, as SQLAlchemy reads them."""
        parts = urlsplit(url)
        return cls(
            parts.hostname or "",
            parts.port or _PORT,
            parts.path.removeprefix("/"),
            unquote(parts.username or ""),
            unquote(parts.password or ""),
            dict(parse_qsl(parts.query)),
        )


def staged(values: Mapping[SecretRef, str], new: Mapping[SecretRef, str]) -> dict[SecretRef, str | None]:
    """Return the changes to store (None: remove the key) that bring `new` URLs into use and keep the proven ones."""
    changes: dict[SecretRef, str | None] = dict(new)
    for ref, kept in REPLACED.items():
        if ref in new and ref in values:
            proven = values.get(kept, values[ref])
            changes[kept] = None if proven == new[ref] else proven
    return changes


def restored(values: Mapping[SecretRef, str]) -> dict[SecretRef, str | None]:
    """Return the changes to store that bring the proven URLs back into use; empty if none were replaced."""
    changes: dict[SecretRef, str | None] = {}
    for ref, kept in REPLACED.items():
        if kept in values:
            changes |= {ref: values[kept], kept: None}
    return changes


def settled(values: Mapping[SecretRef, str]) -> dict[SecretRef, str | None]:
    """Return the changes to store once the new URLs are proven: the replaced URLs are removed."""
    return {kept: None for kept in REPLACED.values() if kept in values}
