"""Messages of installers about a missing release: words of uv 0.13 and pip 23 to 26."""

from __future__ import annotations

import pytest

from deployer.targets.local.releases import is_missing, missing, newest

WANTED = "mlflow[auth]==3.17.99"
UV = f"cause: Because there is no version of {WANTED} and you require {WANTED}, we can conclude that"
PIP = f"ERROR: Could not find a version that satisfies the requirement {WANTED} (from versions: {{}})\n"
NONE = f"ERROR: No matching distribution found for {WANTED}"


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (UV, True),
        (PIP.format("3.17.1, 3.17.2") + NONE, True),
        (PIP.format("none") + NONE, False),  # the index cannot be reached
        ("Because there is no version of mlflow-skinny==3.17.99 and", False),  # only a dependency is missing
        ("error: Failed to fetch: `https://mirror.example.org/mlflow/`", False),
        ("", False),
    ],
)
def test_a_missing_release_is_distinguished_from_other_failures(words: str, missing: bool) -> None:
    assert is_missing(WANTED, words) is missing


SKINNY = "mlflow-skinny==3.18.0"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            f"  cause: Because there is no version of {SKINNY} and mlflow>=3.18.0 depends on",
            ("mlflow-skinny", "3.18.0"),
        ),
        (f"you require mlflow, there is no version of {SKINNY}.\n", ("mlflow-skinny", "3.18.0")),
        (
            f"ERROR: {SKINNY} (from versions: 1.0)\nERROR: No matching distribution found for {SKINNY} (from mlflow)",
            ("mlflow-skinny", "3.18.0"),
        ),
        (
            f"ERROR: ... {SKINNY} (from versions: none)\nERROR: No matching distribution found for {SKINNY}",
            None,  # the index cannot be reached
        ),
        ("error: Failed to fetch: `https://mirror.example.org/mlflow/`", None),
        ("", None),
    ],
)
def test_a_requirement_that_the_index_lacks_is_named(words: str, expected: tuple[str, str] | None) -> None:
    assert missing(words) == expected


@pytest.mark.parametrize(
    ("releases", "expected"),
    [
        (("3.18.0", "3.17.2", "3.17.10", "3.17.11rc1", "2.17.99"), "3.17.10"),
        (("3.18.0",), None),
        ((), None),
    ],
)
def test_the_newest_release_of_a_minor_version_is_found(releases: tuple[str, ...], expected: str | None) -> None:
    assert newest(releases, "3.17.99") == expected
