"""Reads the package's own data once: the templates, and the sources of the programs that run in the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parent
PLUGINS: Final = PACKAGE / "plugin"
PROGRAMS: Final = PLUGINS / "programs"
CONSTRAINTS: Final = PACKAGE / "constraints"
SHIPPED: Final = (".py", ".tsv", ".js")


@dataclass(frozen=True)
class Catalogue:
    """Templates by file name, plugin sources by path in the plugin's folder, and programs by file name.

    The plugin sources are delivered with the server. A program is one file, which runs on its own.
    """

    templates: Mapping[str, str]
    plugins: Mapping[str, str]
    programs: Mapping[str, str]


@cache
def catalogue() -> Catalogue:
    """Return the catalogue. A checkout has the templates beside the package, a wheel has them inside."""
    folder = PACKAGE / "templates"
    if not folder.is_dir():
        folder = PACKAGE.parent / "templates"
    return Catalogue(
        templates={path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.j2"))},
        plugins={
            path.relative_to(PLUGINS).as_posix(): path.read_text("utf-8")
            for path in sorted(PLUGINS.rglob("*"))
            if path.suffix in SHIPPED and PROGRAMS not in path.parents
        },
        programs={path.name: path.read_text("utf-8") for path in sorted(PROGRAMS.glob("*.py"))},
    )
