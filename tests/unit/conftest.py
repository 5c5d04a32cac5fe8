"""Measures coverage without the tests of hypothesis."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Exclude hypothesis tests from coverage, which would make them three times as slow."""
    for item in items:
        if getattr(getattr(item, "function", None), "is_hypothesis_test", False):
            item.add_marker("no_cover")
