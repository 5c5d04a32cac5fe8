"""Nothing that is asked for may change nothing: such flags and lines of files are refused, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deployer.cli.flags import shown
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
    """Return `spec` without the fields that change nothing and were stored by an earlier release.

    `spec` was made from the flags, and from the file where there is one, else from the stored spec. What stands in
    the file and in the stored spec alike is only noted: it was accepted when the server was made.

    Raises:
        UsageError: a flag, or a line of the file, changes nothing; each is named, with the reason.
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
