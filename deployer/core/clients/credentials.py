"""Adds a login to the text of `~/.mlflow/credentials`, or removes it; every other byte stays the same.

MLflow reads the file with ConfigParser (mlflow/utils/credentials.py): section `[mlflow]`, two keys, `%` doubled; other
keys are ignored. Therefore, an earlier login stays in the file under longer key names. A key, and not a comment, marks
the login of deployer, because other programs may rewrite the file without its comments.
"""

from __future__ import annotations

import configparser
import io
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

USERNAME: Final = "mlflow_tracking_username"
PASSWORD: Final = "mlflow_tracking_password"
OWNER: Final = "deployer_login"  # value: the server's address, then its name if it has one
KEPT: Final = "before_login_"
SECTION: Final = "mlflow"
_COMMENT: Final = (
    "# by `deployer login`; `deployer logout` takes this away and gives back what begins with before_login_"
)
_OURS: Final = (OWNER, USERNAME, PASSWORD)
_HEADER: Final = configparser.ConfigParser.SECTCRE
_OPTION: Final = re.compile(r"(?P<option>.*?)\s*(?:[=:].*)?$")


class Damaged(ValueError):
    """MLflow could not read the text. The message gives the reason and quotes nothing of the text."""


@dataclass(frozen=True)
class Owner:
    """The server that a login by deployer is for: its address, and its name if the user gave the name."""

    url: str
    name: str = ""

    def __str__(self) -> str:
        return f"{self.url} {self.name}".rstrip()


@dataclass(frozen=True)
class Entry:
    """A login to write; `repr` does not show the password."""

    owner: Owner
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class _Line:
    """One line, its section and the name of its option. A continuation line has the option of the line before."""

    text: str = field(repr=False)
    section: str | None
    option: str | None = None
    first: bool = False  # whether the line begins its option
    header: bool = False


def value_problem(value: str) -> str | None:
    """Return why a user name or password could not be read back from the file, or not be sent. Never quotes it."""
    if not value:
        return "is empty"
    if not all(" " <= character <= "~" for character in value):
        return "has characters outside printable ASCII"
    if value != value.strip():
        return "begins or ends with a space"
    return None


def owner_of(text: str) -> Owner | None:
    """Return the owner of deployer's login in `text`, or None if there is no such login.

    Raises:
        Damaged: the text cannot be read.
    """
    found = _parsed(text).get(SECTION, {}).get(OWNER)
    if found is None:
        return None
    url, _, name = found.partition(" ")
    return Owner(url, name.strip())


def foreign(text: str) -> bool:
    """Tell whether `text` has a login that deployer did not write."""
    section = _parsed(text).get(SECTION, {})
    return OWNER not in section and (USERNAME in section or PASSWORD in section)


def with_login(text: str, entry: Entry) -> str:
    """Return `text` with this login as the one that MLflow uses.

    An earlier login by deployer is removed. Any other login is kept under longer key names.

    Raises:
        Damaged: MLflow could not read `text`, or could not read the login from the result.
    """
    before = without_login(text)
    lines = _lines(before)
    lines = [_renamed(line, KEPT) if _is_login(line) else line for line in lines]
    at = next((n for n, line in enumerate(lines) if line.header and line.section == SECTION), None)
    if at is None:
        ending = "" if not before or before.endswith(("\n", "\r")) else "\n"
        after = f"{before}{ending}{_COMMENT}\n[{SECTION}]\n{_pairs(entry, '')}"
    else:
        head, tail = lines[: at + 1], lines[at + 1 :]
        # a line that is indented deeper than the option above continues that option's value
        indent = next((_indent(line.text) for line in tail if line.header or line.option), "")
        newline = "" if head[-1].text.endswith(("\n", "\r")) else "\n"
        after = "".join(line.text for line in head) + newline + f"{indent}{_COMMENT}\n" + _pairs(entry, indent)
        after += "".join(line.text for line in tail)
    _require_login(before, after, entry)
    return after


def without_login(text: str) -> str:
    """Return `text` without deployer's login and with the login before it; `text` itself if deployer wrote no login.

    Raises:
        Damaged: MLflow could not read `text` or the result.
    """
    if owner_of(text) is None:
        return text
    lines = _lines(text)
    made = any(
        above.text.strip() == _COMMENT and line.header and line.section == SECTION for above, line in pairwise(lines)
    )
    kept: list[_Line] = []
    for line in lines:
        mine = line.section == SECTION and line.option in _OURS
        if not mine and line.text.strip() != _COMMENT:
            given_back = line.section == SECTION and (line.option or "").startswith(KEPT)
            kept.append(_renamed(line, "") if given_back else line)
    left = [n for n, line in enumerate(kept) if line.section == SECTION]
    if made and len(left) == 1:  # deployer added this section header together with the login
        del kept[left[0]]
    after = "".join(line.text for line in kept)
    _require_rest(text, after)
    return after


def _pairs(entry: Entry, indent: str) -> str:
    pairs = ((OWNER, str(entry.owner)), (USERNAME, entry.username), (PASSWORD, entry.password))
    return "".join(f"{indent}{key} = {value.replace('%', '%%')}\n" for key, value in pairs)


def _is_login(line: _Line) -> bool:
    option = line.option or ""
    return line.section == SECTION and (option in (USERNAME, PASSWORD) or option.startswith(KEPT))


def _renamed(line: _Line, prefix: str) -> _Line:
    """Return the line with `prefix` before the name of its option. If `prefix` is empty, remove the prefix KEPT."""
    if not line.first:
        return line
    indent = _indent(line.text)
    rest = line.text[len(indent) :]
    return _Line(indent + (prefix + rest if prefix else rest[len(KEPT) :]), line.section, line.option, line.first)


def _indent(text: str) -> str:
    return text[: len(text) - len(text.lstrip())]


def _lines(text: str) -> list[_Line]:
    """Return the lines as ConfigParser reads them (configparser.RawConfigParser._read)."""
    found: list[_Line] = []
    section: str | None = None
    option: str | None = None
    level = 0
    for raw in io.StringIO(text, newline=""):
        value = raw.strip()
        if not value or value.startswith(("#", ";")):
            found.append(_Line(raw, section))
            continue
        indent = len(_indent(raw))
        if option and indent > level:
            found.append(_Line(raw, section, option))
            continue
        level = indent
        if header := _HEADER.match(value):
            section, option = header["header"], None
            found.append(_Line(raw, section, header=True))
        else:
            match = _OPTION.match(value)
            option = match["option"].rstrip().lower() if match else None
            found.append(_Line(raw, section, option, first=True))
    return found


def _parsed(text: str) -> dict[str, dict[str, str]]:
    """Return the raw values of every section; the values of a login are interpolated, as in MLflow."""
    parser = configparser.ConfigParser()
    try:
        parser.read_file(io.StringIO(text, newline=None))
    except configparser.DuplicateSectionError as error:
        raise Damaged(f"line {error.lineno} begins a section for the second time") from None
    except configparser.DuplicateOptionError as error:
        raise Damaged(f"line {error.lineno} sets a key for the second time") from None
    except configparser.MissingSectionHeaderError as error:
        raise Damaged(f"line {error.lineno} stands in no section") from None
    except configparser.ParsingError as error:
        raise Damaged(
            f"line {error.errors[0][0]} is no `key = value`" if error.errors else "it is no ini file"
        ) from None
    except (configparser.Error, AttributeError) as error:  # AttributeError: a continuation line without an option above
        raise Damaged(f"it is no ini file ({type(error).__name__})") from None
    raw = {name: dict(parser.items(name, raw=True)) for name in parser.sections()}
    if SECTION in raw:
        try:
            for key in {*_OURS} & raw[SECTION].keys():
                raw[SECTION][key] = parser.get(SECTION, key)
        except configparser.Error:
            raise Damaged("a value in [mlflow] has a % that is not doubled") from None
    return raw


def _require_login(before: str, after: str, entry: Entry) -> None:
    now = _parsed(after)
    section = now.get(SECTION, {})
    if (section.get(USERNAME), section.get(PASSWORD)) != (entry.username, entry.password):
        raise Damaged("MLflow would not read this login back from it")
    _require_rest(before, after)


def _require_rest(before: str, after: str) -> None:
    """Raise Damaged if the edit would change another section, or a key that belongs to no login."""
    if _rest(_parsed(before)) != _rest(_parsed(after)):
        raise Damaged("its lines cannot be told apart safely")


def _rest(sections: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    mine = {k: v for k, v in sections.get(SECTION, {}).items() if k not in _OURS and not k.startswith(KEPT)}
    return {**{name: keys for name, keys in sections.items() if name != SECTION}, SECTION: mine}
