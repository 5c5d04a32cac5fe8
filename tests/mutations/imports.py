"""Finds the test files that import a source file, directly or indirectly. Runs nothing.

Read from the sources, with imports inside functions too. Two cases without imports are recognized by their text: a
module that imports by name (`import_module`) has all modules of its folder, and a test that runs the command `deployer`
has all of its modules.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from tests.mutations.table import ROOT, UNIT

COMMAND = "deployer/cli/app.py"
RUNS_THE_COMMAND = ('with_name("deployer")', "import DEPLOYER")
# files that no import names, and the module that reads them
READ_BY = {
    "templates/": "deployer/catalogue.py",
    "deployer/plugin/permissions/routes.tsv": "deployer/plugin/permissions/routes.py",
    "deployer/plugin/seams.tsv": "deployer/plugin/seams.py",
    "deployer/plugin/serving/page_guard.js": "deployer/plugin/serving/page_guard.py",
}


@cache
def unit_tests_of(file: str, root: Path = ROOT) -> tuple[str, ...]:
    """Return the files of unit and golden tests that import `file`, directly or indirectly."""
    wanted = next((reader for beginning, reader in READ_BY.items() if file.startswith(beginning)), file)
    tests = [path.relative_to(root).as_posix() for folder in UNIT for path in sorted((root / folder).glob("test_*.py"))]
    return tuple(test for test in tests if wanted in _reached(test, root))


@cache
def _reached(test: str, root: Path) -> set[str]:
    folder = Path(test)
    conftests = [
        f"{parent.as_posix()}/conftest.py" for parent in folder.parents if (root / parent / "conftest.py").is_file()
    ]
    reached: set[str] = set()
    waiting = [test, *conftests]
    while waiting:
        if (one := waiting.pop()) not in reached:
            reached.add(one)
            waiting += _imports(one, root) if one.endswith(".py") else ()
    return reached


@cache
def _modules(root: Path) -> Mapping[str, str]:
    """Return the files of the product and of the tests by the names of their modules."""
    found = (
        path.relative_to(root).as_posix() for folder in ("deployer", "tests") for path in (root / folder).rglob("*.py")
    )
    return {_module(file): file for file in found}


@cache
def _imports(file: str, root: Path) -> frozenset[str]:
    """Return the files that a file imports."""
    return frozenset(_imported(file, (root / file).read_text("utf-8"), _modules(root)))


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _imported(file: str, text: str, names: Mapping[str, str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        for name in _names(file, node):
            parts = name.split(".")
            yield from (names[one] for n in range(len(parts)) if (one := ".".join(parts[: n + 1])) in names)
    if "import_module(" in text:
        folder = f"{file.rpartition('/')[0]}/"
        yield from (other for other in names.values() if other.startswith(folder))
    if file.startswith(UNIT) and any(words in text for words in RUNS_THE_COMMAND):
        yield COMMAND


def _names(file: str, node: ast.AST) -> Iterator[str]:
    """Yield what an import may name: for `from a import b` both `a` and `a.b`."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        package = file.split("/")[: -node.level] if node.level else []
        base = ".".join([*package, *([node.module] if node.module else [])])
        yield from (f"{base}.{alias.name}" for alias in node.names)
