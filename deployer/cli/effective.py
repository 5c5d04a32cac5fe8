"""Rejects flags and lines of files that would change nothing, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.cli.flag_rules import shown
from deployer.cli.progress import note
from deployer.core import document
from deployer.core.effect import Idle, idle, idle_anyway
from deployer.core.errors import InvalidSpec, Problem, UsageError
from deployer.core.platform import Platform
from deployer.core.spec import Spec


def effective(
    spec: Spec,
    platform: Platform,
    flags: Mapping[str, Any],
    stored: Spec | None,
    file: str | None = None,
    content: bytes = b"",
) -> Spec:
    """Return `spec`; without a file, drop the stored fields that change nothing.

    `spec` was made from the flags and the file, or without a file from the flags and the stored spec. If a line of the
    file changes nothing but is stored already, it is only reported: an earlier release accepted it.

    Raises:
        UsageError: flags or lines of the file change nothing; the message names each with the reason.
    """
    for path in (path for path, value in flags.items() if value is not None):
        if nothing := idle_anyway(spec, platform, path):
            raise UsageError(f"{shown(path, flags[path])} {nothing.reason}", hint="leave it out")
    kept = {found.path for found in idle(stored, platform)} if stored else set()
    found = idle(spec, platform)
    if file is None:
        for each in found:
            note(f"Dropped from the stored spec: {each.path} {each.reason}")
        return _without(spec, found) if found else spec
    problems = tuple(Problem(each.path, each.reason) for each in found if each.path not in kept)
    if problems:
        error = InvalidSpec(file, problems, hint="leave these lines out: they change nothing")
        raise document.located(error, content)
    for each in found:
        note(f"{file}: {each.path} {each.reason}; leave it out")
    return spec


def _without(spec: Spec, fields: tuple[Idle, ...]) -> Spec:
    data = spec.document()
    for field in fields:
        part: Any = data
        *parents, last = field.path.split(".")
        for key in parents:
            part = part[key]
        part.pop(last)
    return document.validate(data, "the stored spec", stored=True)
