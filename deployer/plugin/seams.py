"""Checks the parts of MLflow that the plugin relies on; seams.tsv lists them by minor version of MLflow.

A seam is a function that the plugin replaces or calls, a function that the plugin reimplements, a table or list that
the plugin changes, or an environment variable. `check` compares all of them once, before the plugin changes anything.
The minor versions in seams.tsv are the supported ones.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("seams.tsv")
OPTIONAL = "?"


class UnknownSeam(Exception):
    """MLflow's code differs from the code that the plugin was written for."""


@dataclass(frozen=True)
class Seam:
    """One line of seams.tsv: `place` is MODULE:NAME, and the meaning of `wanted` depends on `kind`."""

    minors: frozenset[str]
    kind: str
    is_optional: bool  # if this seam differs, the server starts, and the plugin uses MLflow's own function
    users: tuple[str, ...]  # files of the plugin, without `.py`
    place: str
    wanted: str

    @property
    def name(self) -> str:
        """The last part of the place."""
        return self.place.rpartition(":")[2].rpartition(".")[2]


def parse(text: str) -> tuple[Seam, ...]:
    """Return the lines of seams.tsv. Each has four columns that contain no blanks; the rest of the line is `wanted`."""
    lines = (line.split(None, 4) for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(
        Seam(
            frozenset(minors.split(",")),
            kind.removesuffix(OPTIONAL),
            kind.endswith(OPTIONAL),
            tuple(users.split(",")),
            place,
            wanted,
        )
        for minors, kind, users, place, wanted in lines
    )


SEAMS = parse(FILE.read_text("utf-8"))
# such as (3, 17); deployer's tests/local/test_contract.py tests them
SUPPORTED_MINORS = tuple(
    sorted({(int(major), int(minor)) for seam in SEAMS for major, minor in (text.split(".") for text in seam.minors)})
)


def minor_of(version: str) -> str:
    """Return the minor version, such as 3.17."""
    return ".".join(version.split(".")[:2])


def supports(version: str) -> bool:
    """Tell whether this version of MLflow is supported."""
    supported = {f"{major}.{minor}" for major, minor in SUPPORTED_MINORS}
    return version.count(".") >= 2 and minor_of(version) in supported


def of(version: str) -> Iterator[Seam]:
    """Yield the seams of a version."""
    return (seam for seam in SEAMS if minor_of(version) in seam.minors)


def check(version: str) -> None:
    """Compare this MLflow with the table; call this before anything in MLflow is replaced.

    Raises:
        UnknownSeam: a seam that is not optional differs; the message names all that differ.
    """
    found = [difference(seam) for seam in of(version) if not seam.is_optional]
    if any(found):
        raise UnknownSeam("; ".join(filter(None, found)))


def fits(place: str) -> bool:
    """Tell whether this MLflow has an optional seam as the table lists it."""
    from mlflow.version import VERSION

    listed = [seam for seam in of(VERSION) if seam.place == place]
    return bool(listed) and not any(map(difference, listed))


def difference(seam: Seam) -> str:
    """Return how this MLflow differs from the table, or "" if the seam is as listed."""
    return _DIFFERENCES[seam.kind](seam, found_at(seam.place))


def found_at(place: str) -> Any | None:
    """Return the object at MODULE:NAME; None if it does not exist."""
    module, _, path = place.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except ImportError:
        return None
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def _signature(seam: Seam, function: Any) -> str:
    """Compare the parameters, without annotations: their text differs between versions of Python."""
    if not callable(function):
        return f"there is no {seam.name}{seam.wanted}"
    signature = inspect.signature(function)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    found = str(signature.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return "" if found == seam.wanted else f"{seam.name}{found} instead of {seam.name}{seam.wanted}"


def _source(seam: Seam, function: Any) -> str:
    """Compare the SHA-256 of the source."""
    return "" if text_of(function) == seam.wanted else f"{seam.name} does something else than it did"


def _handler(seam: Seam, function: Any) -> str:
    """Look for the function among the values of a table in its module; `|` separates several tables."""
    module = seam.place.partition(":")[0]
    tables = [found_at(f"{module}:{name}") or {} for name in seam.wanted.split("|")]
    is_listed = function is not None and any(value is function for table in tables for value in table.values())
    return "" if is_listed else f"{seam.name} is not in {seam.wanted}"


def _variable(seam: Seam, variable: Any) -> str:
    """Compare the name of an environment variable; `variable` is the name, or an object with the field `name`."""
    found = variable if isinstance(variable, str) else getattr(variable, "name", None)
    return "" if found == seam.wanted else f"there is no environment variable {seam.wanted}"


def _type(seam: Seam, value: Any) -> str:
    return "" if type(value).__name__ == seam.wanted else f"there is no {seam.wanted} {seam.name}"


_DIFFERENCES: dict[str, Callable[[Seam, Any], str]] = {
    "signature": _signature,
    "source": _source,
    "handler": _handler,
    "variable": _variable,
    "type": _type,
}


def text_of(function: Any) -> str:
    """Return the SHA-256 of a function's source, or "" if the source is not available."""
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()
    except (OSError, TypeError):
        return ""
