"""Which artifact paths name an experiment, and which experiments share a path."""

from __future__ import annotations

import pytest

from deployer.plugin.permissions.artifact_paths import names_experiment, owners, segments_of


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("0", True),
        ("12/run/artifacts/f.txt", True),
        (".//12/run", True),
        ("", False),
        (".", False),
        ("././", False),
        ("012/run", False),
        ("00", False),
        ("+12/run", False),
        ("1_2/run", False),
        ("１２/run", False),  # digits, but not ASCII digits
        ("team/12", False),
        ("skills/12", False),
        ("9" * 5000, True),
    ],
)
def test_only_a_plain_number_in_a_path_names_an_experiment(path: str, named: bool) -> None:
    assert names_experiment(segments_of(path)) == named


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("team/a/run/artifacts/f.txt", ["1/run/artifacts/f.txt"]),
        ("./team//a/run", ["1/run"]),
        ("team/a", ["1"]),
        ("team", ["1", "2"]),
        ("", ["1", "2", "3"]),
        ("team/ab", []),
        ("host/other", []),
        ("other/x", ["3/x"]),
        ("bucket", []),
    ],
)
def test_a_path_belongs_to_experiments_in_parent_and_child_folders(path: str, found: list[str]) -> None:
    locations = [
        (1, "mlflow-artifacts:/team/a"),
        (2, "mlflow-artifacts:/team/b/"),
        (3, "mlflow-artifacts://host:5000/other"),
        (4, "s3://bucket/team/a"),
    ]
    assert owners(segments_of(path), locations) == found
