"""Lists the releases of a package on the package index; asks pip and uv, which know the configured index."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from deployer.targets.local.installer import FOLDER

_SECONDS: Final = 30.0
_RELEASE: Final = re.compile(r"[0-9]+(?:\.[0-9]+)*")


def is_missing(requirement: str, words: str) -> bool:
    """Tell whether an installer's output says that the index has the package, but not the release `requirement`.

    uv prints "there is no version of NAME==VERSION". pip prints the existing versions ("none" if the index cannot be
    reached) and then "No matching distribution found for NAME==VERSION".
    """
    if f"there is no version of {requirement}" in words:
        return True
    listed = re.search(r"\(from versions: (?!none\))", words)
    return listed is not None and f"No matching distribution found for {requirement}" in words


def missing(words: str) -> tuple[str, str] | None:
    """Return name and version of a package that the index lacks according to the output of uv or pip, else None."""
    found = re.search(r"there is no version of ([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*[A-Za-z0-9])", words)
    if found is None and re.search(r"\(from versions: (?!none\))", words):
        found = re.search(r"No matching distribution found for ([A-Za-z0-9._-]+)==([0-9][A-Za-z0-9.]*)", words)
    return (found[1], found[2]) if found else None


def newest(releases: Iterable[str], version: str) -> str | None:
    """Return the newest release with the major and minor number of `version`, None without one."""
    minor = version.split(".")[:2]
    found = [release for release in releases if _RELEASE.fullmatch(release) and release.split(".")[:2] == minor]
    return max(found, key=lambda release: [int(part) for part in release.split(".")], default=None)


def known_to_pip(python: str, package: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the releases that the pip of `python` finds; empty if `python` has no pip or pip finds none."""
    command = [python, "-m", "pip", "index", "versions", "--disable-pip-version-check", package]
    listed = re.search(r"^Available versions: (.*)$", _said(command, env), re.MULTILINE)
    return tuple(listed[1].replace(" ", "").split(",")) if listed else ()


def known_to_uv(uv: str, python: str, package: str, version: str, env: Mapping[str, str]) -> tuple[str, ...]:
    """Return the newest release that uv finds for `version`, such as 3.17.2 or 3.17.*; empty if uv finds none."""
    wanted = f"{package}=={version}"
    command = [uv, "pip", "compile", "--quiet", "--no-deps", "--no-header", "--no-annotate", "--python", python, "-"]
    return tuple(re.findall(rf"^{re.escape(package)}==(\S+)$", _said(command, env, wanted), re.MULTILINE))


def _said(command: Sequence[str], env: Mapping[str, str], stdin: str = "") -> str:
    try:
        done = subprocess.run(
            command, env=env, input=stdin, capture_output=True, text=True, errors="replace", check=False,
            timeout=_SECONDS, cwd=FOLDER,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
