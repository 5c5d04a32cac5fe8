"""Parsers of option values, with deployer's error messages instead of typer's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, TypeVar

from deployer.core.errors import UsageError, any_of, one_line

_Choice = TypeVar("_Choice", bound=StrEnum)


def whole_number(flag: str, least: int, most: int) -> Callable[[Any], int]:
    """Return a parser of whole numbers from `least` to `most`, in digits."""

    def read(value: Any) -> int:
        if isinstance(value, int):
            return value
        if value.isascii() and value.isdigit() and least <= int(value[:20]) <= most:
            return int(value)
        raise _wrong(flag, value, f"must be a whole number from {least} to {most}")

    return read


def seconds(flag: str) -> Callable[[Any], float]:
    """Return a parser of a number of seconds, at least 1."""

    def read(value: Any) -> float:
        try:
            number = float(value)
        except ValueError:
            number = 0.0
        if 1.0 <= number < float("inf"):
            return number
        raise _wrong(flag, value, "must be a number of seconds, at least 1")

    return read


def word(flag: str, words: Sequence[str]) -> Callable[[Any], str]:
    """Return a parser that accepts only these words."""

    def read(value: Any) -> str:
        if value in words:
            return str(value)
        raise _wrong(flag, value, f"must be {any_of(words)}")

    return read


def choice(flag: str, kind: type[_Choice]) -> Callable[[Any], _Choice]:
    """Return a parser of the values of an enum."""
    known = word(flag, [member.value for member in kind])
    return lambda value: kind(known(value))


def _wrong(flag: str, value: object, problem: str) -> UsageError:
    text = one_line(str(value))
    return UsageError(f"{flag} {text or repr(text)}: {problem}", hint="add --help to see every option")
