"""Unified diffs without loss: `patched` restores the text from the base and the diff that `difference` wrote."""

import difflib
import re

HUNK = re.compile(r"@@ -([0-9]+)(?:,([0-9]+))? \+[0-9,]+ @@")


class Stale(ValueError):
    """A diff does not fit the text that it is to be applied to."""


def difference(base: str, text: str, names: tuple[str, str]) -> str:
    """Return a unified diff, empty for equal texts; as `git diff` does, each hunk names the object that it is in.

    Both texts end with a newline.
    """
    lines = difflib.unified_diff(_lines(base), _lines(text), *names, lineterm="")
    return "".join(f"{line}{_object(base, hunk) if (hunk := HUNK.match(line)) else ''}\n" for line in lines)


def patched(base: str, diff: str) -> str:
    """Apply what `difference` returned; raises Stale where the diff and `base` disagree."""
    before = _lines(base)
    after: list[str] = []
    at = 0
    for line in _lines(diff)[2:]:  # the names come first
        sign, content = line[:1], line[1:]
        if hunk := HUNK.match(line):
            start = _start(hunk)
            after += before[at:start]
            at = start
        elif sign == "+":
            after.append(content)
        elif sign in {"-", " "} and before[at : at + 1] == [content]:
            after += [content] if sign == " " else []
            at += 1
        else:
            raise Stale(f"line {at + 1} is not {content!r}")
    return "".join(f"{line}\n" for line in [*after, *before[at:]])


def _lines(text: str) -> list[str]:
    if text and not text.endswith("\n"):
        raise ValueError("a text without a newline at its end")
    return text.split("\n")[:-1]


def _start(hunk: re.Match[str]) -> int:
    """Return how many lines are before a hunk; a hunk that removes nothing names the line before its place."""
    return int(hunk[1]) - (hunk[2] != "0")


def _object(base: str, hunk: re.Match[str]) -> str:
    """Return the kind of the object that the first change of a hunk is in, after the lines of context."""
    kinds = [line for line in _lines(base)[: _start(hunk) + 4] if line.startswith("kind: ")]
    return f" {kinds[-1]}" if kinds else ""
