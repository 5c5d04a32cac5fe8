"""The spellings of an experiment that MLflow's store reads as one number."""

from __future__ import annotations

import pytest

from deployer.plugin.permissions.experiment_ids import canonical, without_dots


@pytest.mark.parametrize("spelling", ["2", "02", " 2", "2 ", "+2", "0_2", "\u0662"])
def test_each_spelling_means_the_same_number(spelling: str) -> None:
    assert canonical("experiment", spelling) == "2"
    assert canonical("scorer", f"{spelling}/a%2Fb") == "2/a%2Fb"


@pytest.mark.parametrize(
    ("kind", "name"),
    [("experiment", "*"), ("experiment", ""), ("experiment", "1e3"), ("scorer", "*"), ("registered_model", "02")],
)
def test_other_names_are_left_alone(kind: str, name: str) -> None:
    assert canonical(kind, name) == name
    assert canonical(kind, None) is None


@pytest.mark.parametrize("path", ["2/run/f", "./2/run/f", "././2/./run/f", "2/run/./f"])
def test_single_dots_are_removed_from_a_path(path: str) -> None:
    assert without_dots(path) == "2/run/f"
    assert without_dots("2/.run/f.") == "2/.run/f."
