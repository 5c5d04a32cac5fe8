"""The table of breaks fits the code, the documents and the tests; `make mutations` runs it."""

from __future__ import annotations

import pytest

from tests.mutations import table
from tests.mutations.imports import unit_tests_of

BREAKS = table.read()


def test_the_table_fits_the_code_the_documents_and_the_tests() -> None:
    assert "\n".join(table.problems(BREAKS)) == ""
    assert len(BREAKS) >= 60


def test_each_document_with_promises_has_breaks() -> None:
    documents = {"README.md", "SECURITY.md", *(f"docs/{path.name}" for path in (table.ROOT / "docs").glob("*.md"))}
    assert {one.where.partition(table.SEPARATOR)[0] for one in BREAKS} == documents


def test_each_named_unit_test_imports_the_broken_file() -> None:
    named = [(one, test) for one in BREAKS for test in one.fails if test.startswith(table.UNIT)]
    assert [(one.name, test) for one, test in named if test.partition("::")[0] not in unit_tests_of(one.file)] == []


EXAMPLE = table.Break(
    "example",
    "a promise",
    "README.md > Every day",
    "a.py",
    "==",
    "!=",
    ("tests/unit/a.py::test_a", "tests/local/b.py::test_b[1]"),
)


@pytest.mark.parametrize(
    ("failed", "told"),
    [
        ({"tests/unit/a.py::test_a[x]", "tests/local/b.py::test_b[1]"}, []),
        ({"tests/unit/a.py::test_a"}, ["passed in spite of the break: tests/local/b.py::test_b[1]"]),
        (
            {"tests/unit/a.py::test_a", "tests/local/b.py::test_b[1]", "tests/local/b.py::test_b[2]"},
            ["failed and is not named: tests/local/b.py::test_b[2]"],
        ),
        (
            {"tests/unit/a.py", "tests/local/b.py::test_b[1]"},
            ["passed in spite of the break: tests/unit/a.py::test_a", "failed and is not named: tests/unit/a.py"],
        ),
    ],
)
def test_exactly_the_named_tests_must_fail(failed: set[str], told: list[str]) -> None:
    assert list(table.differences(EXAMPLE, failed)) == told


def test_an_old_text_that_does_not_occur_exactly_once_is_an_error_with_a_hint() -> None:
    assert EXAMPLE.broken("a == b") == "a != b"
    for text in ("a is b", "a == b == c"):
        with pytest.raises(ValueError, match="change `old` and `new`"):
            EXAMPLE.broken(text)
