"""The package's own data, read once into a value: templates and the source of the server-side programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parent
PLUGINS: Final = PACKAGE / "plugin"
CONSTRAINTS: Final = PACKAGE / "constraints"
SHIPPED: Final = (".py", ".tsv")


@dataclass(frozen=True)
class Catalogue:
    """Templates and plugin sources by file name."""

    templates: Mapping[str, str]
    plugins: Mapping[str, str]


@cache
def catalogue() -> Catalogue:
    """Return the catalogue; templates lie beside the package in a checkout and inside it in a wheel."""
    folder = PACKAGE / "templates"
    if not folder.is_dir():
        folder = PACKAGE.parent / "templates"
    return Catalogue(
        templates={path.name: path.read_text("utf-8") for path in sorted(folder.glob("*.j2"))},
        plugins={path.name: path.read_text("utf-8") for path in sorted(PLUGINS.iterdir()) if path.suffix in SHIPPED},
    )
