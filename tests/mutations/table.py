"""The table of breaks: reads breaks/*.yaml and compares the table with the files that it names. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).with_name("breaks")
UNIT = ("tests/unit", "tests/golden")
CLUSTER = "tests/cluster/"
SEPARATOR = " > "  # between the document and the heading of a promise


@dataclass(frozen=True)
class Break:
    """One mistake: `old` becomes `new` in `file`. `fails` are the tests that must fail, as pytest names them.

    A test without brackets runs with all its parameters, and fails if one of them fails. A test with brackets runs
    with that parameter alone. `where` is the document of the promise, and its heading.
    """

    name: str
    promise: str
    where: str
    file: str
    old: str
    new: str
    fails: tuple[str, ...]
    area: str = ""

    @property
    def needs_cluster(self) -> bool:
        """Tell whether a named test needs a cluster."""
        return any(test.startswith(CLUSTER) for test in self.fails)

    @property
    def files(self) -> tuple[str, ...]:
        """Return the files of unit and golden tests with a named test; pytest runs these files as a whole."""
        return tuple(dict.fromkeys(test.partition("::")[0] for test in self.fails if test.startswith(UNIT)))

    @property
    def others(self) -> tuple[str, ...]:
        """Return the named tests that are no unit or golden tests: they need a server, or a cluster."""
        return tuple(test for test in self.fails if not test.startswith(UNIT))

    def broken(self, text: str) -> str:
        """Return the text of `file` with the mistake.

        Raises:
            ValueError: `old` does not occur exactly once; the message says what to do.
        """
        if (count := text.count(self.old)) != 1:
            raise ValueError(
                f"{self.area}.yaml, {self.name}: the text `old` occurs {count} times in {self.file}, and must occur "
                "once. If the code has changed, make the same mistake in the new code: change `old` and `new`. If the "
                "code has moved, change `file`."
            )
        return text.replace(self.old, self.new)


def read(folder: Path = FOLDER) -> tuple[Break, ...]:
    """Return all breaks, in the order of the files and of the entries in them."""
    return tuple(found for path in sorted(folder.glob("*.yaml")) for found in _of_file(path))


def _of_file(path: Path) -> Iterator[Break]:
    for entry in yaml.safe_load(path.read_text("utf-8")):
        yield Break(**{**entry, "fails": tuple(entry["fails"])}, area=path.stem)


def problems(breaks: Collection[Break], root: Path = ROOT) -> Iterator[str]:
    """Yield the mistakes in the table, each with a hint; runs nothing."""
    names = [found.name for found in breaks]
    for name in {name for name in names if names.count(name) > 1}:
        yield f"{name}: two breaks have this name; give one of them another"
    for found in breaks:
        yield from (f"{found.area}.yaml, {found.name}: {problem}" for problem in _problems(found, root))


def _problems(found: Break, root: Path) -> Iterator[str]:
    try:
        found.broken((root / found.file).read_text("utf-8"))
    except FileNotFoundError:
        yield f"there is no file {found.file}; if the code has moved, change `file`"
    except ValueError as error:
        yield str(error).partition(": ")[2]
    if found.old == found.new:
        yield "`old` and `new` are the same"
    if not found.fails:
        yield "no test is named under `fails`"
    document, _, heading = found.where.partition(SEPARATOR)
    if not (root / document).is_file() or heading not in headings((root / document).read_text("utf-8")):
        yield f"{document!r} has no heading {heading!r}; change `where`"
    for test in found.fails:
        path, _, function = test.partition("::")
        function = function.partition("[")[0]
        there = (root / path).is_file() and re.search(
            rf"^(?:async )?def {re.escape(function)}\(", (root / path).read_text("utf-8"), re.MULTILINE
        )
        if not there:
            yield f"there is no test {test}; if it was renamed or moved, change `fails`"


def headings(markdown: str) -> list[str]:
    """Return the headings of a document, without lines of its code blocks."""
    prose = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#+ (.+)$", prose, re.MULTILINE)


def unnamed(found: Break, failed: Collection[str]) -> list[str]:
    """Return the tests that failed and that the table does not name."""
    return [one for one in sorted(failed) if not any(covers(test, one) for test in found.fails)]


def differences(found: Break, failed: Collection[str]) -> Iterator[str]:
    """Yield the differences between the failed tests and the named tests."""
    for test in found.fails:
        if not any(covers(test, one) for one in failed):
            yield f"passed in spite of the break: {test}"
    yield from (f"failed and is not named: {one}" for one in unnamed(found, failed))


def covers(test: str, node: str) -> bool:
    """Tell whether a test of the table stands for a node of pytest's."""
    return node == test or ("[" not in test and node.startswith(f"{test}["))
